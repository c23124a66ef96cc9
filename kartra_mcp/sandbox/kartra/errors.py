"""Kartra's error types with their messages, and the exception that carries one."""

from __future__ import annotations

MESSAGES = {
    "201": "This connection is not secure",
    "202": "The API key is empty",
    "203": "The API key is not valid",
    "204": "The API account is inactive",
    "206": "Either the e-mail or the id of a lead is needed",
    "207": "The list is empty",
    "208": "The list is empty",
    "209": "This list does not exist",
    "211": "The tag is empty",
    "212": "This tag does not exist",
    "213": "The tag is empty",
    "214": "This tag does not exist",
    "215": "The points are empty",
    "217": "The points are empty",
    "219": "This sequence does not exist",
    "220": "This sequence does not exist",
    "223": "'lead' has to be an array",
    "224": "'actions' has to be an array",
    "225": "The step is empty",
    "226": "The sequence is empty",
    "227": "The points have to be a number",
    "228": "The points have to be a number",
    "229": "The step has to be alphanumeric",
    "230": "This step does not exist",
    "231": "This list does not exist",
    "233": "The API password is not valid",
    "234": "No lead was found",
    "236": "'get_lead' has to be an array",
    "238": "The App Id is empty",
    "239": "The App Id is not valid, or the App is inactive",
    "240": "The account of the App is inactive",
    "242": "Requests from this IP address are not authorised",
    "243": "No lead was found",
    "244": "This lead exists already",
    "245": "This lead has been deleted",
    "247": "This transaction does not exist",
    "248": "This subscription does not exist",
    "249": "The transaction has no recurring subscription",
    "250": "The refund period of this transaction is over",
    "251": "This transaction has been refunded already",
    "252": "This subscription has been cancelled already",
    "253": "Transactions of this kind cannot be refunded or cancelled",
    "254": "'cmd' is needed",
    "255": "The calendar is empty",
    "256": "The class is empty",
    "257": "This calendar does not exist",
    "258": "This class does not exist",
    "259": "The lead has no active or pending booking",
    "260": "The format of the date is invalid",
    "261": "The date is in the past",
    "262": "The App has no permission for this 'cmd'",
    "263": "The name of the custom field has characters that are not allowed",
    "264": "This custom field exists already or its name is not allowed",
    "265": "The name of the custom field is empty",
    "266": "The refund has failed",
    "267": "The cancellation has failed",
    "268": "The amount is invalid",
    "269": "The type of the custom field is invalid",
    "270": "The options have to be an array",
    "271": "The custom fields have a wrong format",
    "272": "An option is empty",
    "273": "Two or more options are needed",
    "274": "The status is wrong",
    "275": "A cancelled or terminated subscription cannot be updated",
    "276": "The quantity has to be from 1 to 9,999",
    "277": "The price has to be from 1.00 to 9,999.99",
    "278": "The number is invalid",
    "280": "The recurring period is invalid",
    "281": "The recurrence of this subscription cannot be changed",
    "282": "The number of installments is wrong",
    "283": "The product id or the price point is wrong",
    "284": "PayPal transactions cannot be modified",
    "285": "No parameter that can be edited was sent",
    "290": "The tax has to be from 0 to 100",
}

ANYWHERE = frozenset(
    [
        "201",
        "202",
        "203",
        "204",
        "206",
        "223",
        "224",
        "233",
        "234",
        "236",
        "238",
        "239",
        "240",
        "242",
        "254",
        "429",
    ],
)
"""Types that answer the whole request, before any command has run."""


class KartraError(Exception):
    """Refusal by Kartra; returned in an envelope with HTTP 200."""

    def __init__(self, kind: str, message: str = "") -> None:
        super().__init__(kind)
        self.kind = kind
        self.message = message or MESSAGES.get(kind, "Something went wrong")


class TooManyRequestsError(Exception):
    """Rate limit: the one response of Kartra that is not HTTP 200."""


def require(condition: object, kind: str) -> None:
    if not condition:
        raise KartraError(kind)
