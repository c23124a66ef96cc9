"""Tables of the search: verbs, nouns, phrases, stop words. Data only.

A word in more than one row can mean each of them. A `~` after a word marks a weak meaning.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum


class Direction(Enum):
    """Effect of a verb on the account. Verbs of one direction resemble each other."""

    READ = "read"
    GIVE = "give"
    CHANGE = "change"
    TAKE = "take"


VERBS: Mapping[str, tuple[Direction, str]] = {
    "show": (
        Direction.READ,
        (
            "show get retrieve find see view read fetch display look list search lookup browse "
            "check know tell inspect query load review~ open~ pull count which what "
            "who when where whose"
        ),
    ),
    "export": (Direction.READ, "export download"),
    "create": (
        Direction.GIVE,
        (
            "create new make register generate build insert record~ add~ start~ open~ post issue~ "
            "set~ introduce establish draft write save~ enter~"
        ),
    ),
    "add": (Direction.GIVE, "add assign attach put apply append include link place give~ move~"),
    "tag": (Direction.GIVE, "assign~ tag label mark~ flag~"),
    "grant": (Direction.GIVE, "grant give allow let unlock enable~ admit enroll~ permit provide"),
    "subscribe": (Direction.GIVE, "subscribe enroll add~ put~ join start begin sign~ place~"),
    "charge": (Direction.GIVE, "charge bill collect debit capture"),
    "send": (
        Direction.GIVE,
        "send email mail message text deliver broadcast notify forward write~",
    ),
    "book": (Direction.GIVE, "book schedule reserve plan~ add~ create~"),
    "upload": (Direction.GIVE, "upload import add~ create~"),
    "resume": (
        Direction.GIVE,
        "resume unpause reactivate unfreeze continue restart restore unhold",
    ),
    "activate": (Direction.GIVE, "activate enable publish launch start~ turnon"),
    "edit": (
        Direction.CHANGE,
        (
            "edit update change correct rename fix modify set adjust amend alter revise patch "
            "replace switch~ move~ upgrade~ downgrade~ raise~ lower~ reschedule"
        ),
    ),
    "move": (Direction.CHANGE, "move transfer shift relocate reassign"),
    "merge": (Direction.CHANGE, "merge combine deduplicate join~ unite"),
    "copy": (Direction.GIVE, "copy duplicate clone"),
    "approve": (Direction.CHANGE, "approve accept confirm"),
    "reject": (Direction.TAKE, "reject decline deny~"),
    "complete": (Direction.CHANGE, "complete finish close done resolve"),
    "send-again": (Direction.GIVE, "resend retry"),
    "remove": (
        Direction.TAKE,
        "remove unassign detach drop strip take~ withdraw~ clear~ unlink exclude delete~",
    ),
    "untag": (Direction.TAKE, "unassign untag unlabel remove~"),
    "delete": (
        Direction.TAKE,
        "delete erase destroy purge trash wipe discard drop~ remove~ clear~",
    ),
    "revoke": (
        Direction.TAKE,
        (
            "revoke withdraw block lock ban deny remove~ end~ lose~ stop~ cancel~ take~ suspend~ "
            "terminate~ disable~ kick close~ cut~"
        ),
    ),
    "unsubscribe": (
        Direction.TAKE,
        "unsubscribe unenroll leave remove~ stop~ drop~ take~ end~ cancel~ exit unfollow",
    ),
    "cancel": (
        Direction.TAKE,
        "cancel stop end terminate quit discontinue cancellation abort cease halt~ close~ void",
    ),
    "pause": (Direction.TAKE, "pause freeze hold suspend snooze halt interrupt postpone stop~"),
    "refund": (Direction.TAKE, "refund reimburse repay moneyback return~ chargeback~ reverse"),
    "archive": (Direction.TAKE, "archive hide retire"),
    "disable": (Direction.TAKE, "disable deactivate unpublish turnoff"),
    "restore": (Direction.GIVE, "restore unarchive undelete recover undo"),
}

OPPOSITES: tuple[tuple[str, str], ...] = (
    ("create add tag grant subscribe", "remove untag delete revoke unsubscribe"),
    ("create add subscribe book charge", "cancel pause"),
    ("pause", "cancel resume delete refund"),
    ("restore", "refund charge"),
    ("resume activate restore", "pause cancel disable archive delete remove"),
    ("charge", "refund"),
    ("grant activate", "disable"),
    ("approve", "reject cancel"),
    ("refund", "charge create-subscription"),
    ("edit move copy merge", "delete cancel refund"),
    ("archive", "delete"),
)
"""Pairs of verb lists: each verb on the left is the opposite of each on the right."""

NEAR: tuple[tuple[str, str], ...] = (
    ("add", "create tag grant subscribe book"),
    ("create", "book upload send copy"),
    ("edit", "move approve complete"),
    ("remove", "untag delete revoke unsubscribe cancel"),
    ("delete", "archive cancel"),
    ("revoke", "cancel disable"),
    ("unsubscribe", "cancel"),
    ("show", "export"),
    ("charge", "create"),
    ("refund", "create send"),
    ("send", "send-again create"),
    ("disable", "pause"),
    ("resume", "activate restore"),
)
"""Verbs that names often use in place of each other."""

WEAK_VERBS = frozenset(
    """
    list tag label mark flag email mail message text book plan charge bill record post issue review
    check view copy forward close open end start return hold lock link place order search look
    write draft set save count which what who when where whose done new complete return
    export import update change process upgrade transfer credit leave block let place join
    """.split()  # noqa: SIM905  shorter to read than a list of quoted names
)
"""Words that are nouns too: they are verbs only at the start of a clause, or alone."""

NOUNS: Mapping[str, str] = {
    "lead": "lead contact customer person people client subscriber buyer someone somebody anyone "
    "member user prospect patron shopper he she guy lady individual phone~ surname~ profile~ "
    "firstname~ lastname~ address~ birthday~ student~ human",
    "profile": "profile detail info information about everything record~ data~ personal",
    "refund": "refund reimbursement moneyback repayment return~",
    "subscription": "subscription recurring plan rebill installment monthly yearly billing autopay "
    "renewal rebilling instalment annual weekly",
    "tag": "tag label marker badge",
    "list": "list newsletter mailinglist audience mailing maillist distribution bulletin",
    "sequence": "sequence automation~ drip campaign~ autoresponder followup series onboarding~ "
    "mailseries nurture funnel~ welcome~ cadence",
    "membership": "membership course~ access portal~ training~ lesson~ content~ area~ "
    "program~ academy~ class~ memberarea level~ tier~ material~ member~",
    "course": "course lesson training class module program academy curriculum",
    "transaction": "transaction payment order purchase sale charge receipt~ buy spend pay deal~ "
    "bought paid checkout~ money~ refund~ chargeback~ spent purchased",
    "invoice": "invoice bill receipt statement",
    "page": "page website landing site webpage funnel~ salespage landingpage",
    "field": "customfield field attribute property column",
    "points": "point score credit reward loyalty",
    "booking": "appointment booking meeting session call~ reservation calendar~ slot class~",
    "message": "message email mail broadcast sms mailout blast newsletter~ campaign~ notification",
    "ticket": "ticket case issue support request~ helpdesk complaint",
    "deal": "deal opportunity pipeline~",
    "product": "product item offer~ sku",
    "coupon": "coupon discount promo voucher promotion code~",
    "affiliate": "affiliate partner referrer referral reseller",
    "commission": "commission payout earning",
    "survey": "survey quiz questionnaire poll",
    "form": "form optin signup~",
    "video": "video recording clip",
    "note": "note remark memo annotation",
    "comment": "comment reply remark",
    "file": "file document attachment upload~ asset media~",
    "image": "image photo picture avatar logo thumbnail",
    "task": "task todo reminder chore assignment",
    "company": "company organization business firm organisation enterprise account~",
    "employee": "employee staff worker agent~ teammate colleague user~",
    "team": "team group department crew",
    "report": "report stat statistic analytic metric number~ figure revenue~ performance insight",
    "event": "event webinar conference happening",
    "workflow": "workflow automation rule trigger zap flow journey",
    "template": "template layout boilerplate",
    "webhook": "webhook callback hook endpoint",
    "permission": "permission role right privilege",
    "category": "category folder collection topic",
    "segment": "segment audience group~ cohort",
    "shipment": "shipment delivery parcel package shipping tracking",
    "stock": "stock inventory quantity",
    "review": "review testimonial rating feedback",
    "article": "article blog post~ story blogpost",
    "chargeback": "chargeback dispute",
    "log": "log history activity audit",
    "cart": "cart basket",
    "quote": "quote estimate proposal quotation",
    "project": "project board~ workspace~",
    "status": "status state progress",
    "step": "step stage phase",
    "price": "price cost fee",
    "storage": "storage space disk~",
    "detail": "detail info information about amount~ data~ overview",
}
"""Meanings of nouns, and the words for each."""

ROLES = frozenset({"lead"})
"""Nouns for the person concerned. They weigh little if another noun is the object."""

INTENT_PHRASES: tuple[tuple[str, str], ...] = (
    (
        r"\b(?:find|show|get|which|what)(?: \S+){0,3}? (?:tool|action|command) (?:to|for)\b",
        " ",
    ),
    (r"\S+@\S+|https?:\S+", " "),
    (
        (
            r"\b(?:is there (?:a|any) way|is it possible|how (?:do|can|could|would|"
            "should) (?:i|we|you|one)|how to|i(?: would|'d) like(?: you)? to|(?:can|"
            r"could|would|will) (?:you|we|i))\b"
        ),
        " ",
    ),
    (
        (
            r"\bdo(?:es)?n['o ]*t (?:want|wish|like) (?:to )?(?:get|receive|"
            r"see)?\b.*?(?=\b(?:mail|email|newsletter|list|message))"
        ),
        "unsubscribe ",
    ),
    (
        (
            r"\b(?:no longer|never|not|stop|stops)(?: \S+){0,2}? (?:get|gets|getting|"
            r"receive|receives|receiving|want|wants)\b(?=.*\b(?:mail|mails|email|emails|"
            "newsletter|list|sequence|messages))"
        ),
        "unsubscribe",
    ),
    (
        (
            r"\b(?:get|give|gives|giving|send|pay|paid|pays|want|wants|has|hand|return|"
            r"returns|put)?(?: (?!and\b)\S+){0,4}? ?\b(?:money|pay|payment|paid|cash|"
            r"funds|amount|price)(?: \S+){0,2}? back\b"
        ),
        "refund",
    ),
    (r"\breturn(?:s|ed|ing)?(?: \S+){0,3}? (?:money|payment|cash|funds)\b", "refund"),
    (r"\bpay(?:s|ing)?(?: \S+){0,2}? back\b", "refund"),
    (r"\b(?:undo|reverse)(?: \S+){0,2}? (?:charge|payment|purchase|sale|order)\b", "refund"),
    (
        (
            r"\b(?:billing|charging|charges|charge|paying|payments?|subscription|"
            r"renewing) (?:must|should) (?:stop|end)\b"
        ),
        "cancel subscription",
    ),
    (
        (
            r"\b(?:stop|end|quit|cease|no longer)(?:s|ped|ping)? (?:the |future |their |"
            "his |her |any )*(?:bill(?:ing)?|charg(?:e|es|ing)|rebill(?:ing)?|debit(?:s|"
            r"ing)?|auto ?pay|renewals?|(?:recurring |monthly |yearly )+\w+|payments)\b"
        ),
        "cancel subscription",
    ),
    (r"\bstop charging\b", "cancel subscription"),
    (r"\b(?:put|place|set)((?: \S+){0,5}?) on (?:hold|ice|pause)\b", r"pause\1"),
    (r"\b(?:turn|switch)(?:s|ed|ing)?((?: \S+){0,3}?) off\b", r"turnoff\1"),
    (r"\b(?:turn|switch)(?:s|ed|ing)?((?: \S+){0,3}?) on\b", r"turnon\1"),
    (
        (
            r"\b(?:take|takes|taking|took|pull|get|throw|kick)((?: \S+){0,4}?) (?:away|"
            r"off|out of|out)\b"
        ),
        r"remove\1",
    ),
    (r"\bget(?:s|ting)? rid of\b", "delete"),
    (r"\bhand(?:s|ed|ing)?((?: \S+){0,3}?) over\b", r"assign\1"),
    (r"\bopt(?:s|ed|ing)?((?: \S+){0,3}?) out\b", r"unsubscribe\1"),
    (r"\bopt(?:s|ed|ing)?((?: \S+){0,3}?) in\b", r"subscribe\1"),
    (r"\bunsub\b", "unsubscribe"),
    (r"\bsign(?:s|ed|ing)?((?: \S+){0,3}?) up\b", r"subscribe\1"),
    (r"\bset(?:s|ting)?((?: \S+){0,3}?) up\b", r"create\1"),
    (r"\blook(?:s|ed|ing)?((?: \S+){0,3}?) up\b", r"show\1"),
    (r"\b(?:cut|shut|lock)(?:s|ting|ed|ing)?((?: \S+){0,3}?) (?:off|out|down)\b", r"revoke\1"),
    (
        (
            r"\blet(?:s|ting)?((?: \S+){1,4}?) (?:in|into|inside|see|watch|use|enter|view|"
            r"start)\b"
        ),
        r"grant access\1",
    ),
    (r"\bun(tag|label|enrol|grant)", r"remove \1"),
    (r"\bhow (?:much|many)\b", "what amount"),
    (r"\blist of\b", "show"),
    (
        (
            r"\bno (?:more|further|longer)(?=.*\b(?:mail|email|newsletter|mailing|"
            "mailseries|drip))"
        ),
        "unsubscribe",
    ),
)
"""Patterns of phrases, and the one word with the same meaning; applied in this order.

For intents only.
"""

COMPOUNDS: tuple[tuple[str, str], ...] = (
    (r"\blist (?=all\b|every\b|my\b|our\b|the\b)|^\s*list\b", "show "),
    (r"\b(?:mail|mailing|email|distribution|newsletter) lists?\b", "mailinglist"),
    (
        (
            r"\b(?:e ?mails?|mails?|messages?) (?:series|sequences?|courses?|automations?|"
            r"campaigns?|follow ?ups?|drips?)\b"
        ),
        "mailseries",
    ),
    (
        (
            r"\b(?:welcome|onboarding|nurture|automated|automatic|scheduled) (?:e ?mails?|"
            r"mails?|messages?)\b"
        ),
        "mailseries",
    ),
    (r"\bdrip (?:campaigns?|series|mails?|emails?)\b", "drip"),
    (r"\bfollow[ -]?ups?(?: (?:mails?|emails?|messages?|series))?\b", "followup"),
    (r"\bauto ?responders?\b", "autoresponder"),
    (r"\bcustom(?:er)? (?:fields?|attributes?|properties|property)\b", "customfield"),
    (r"\b(first|last|sur) ?names?\b", r"\1name"),
    (r"\bmember(?:s|ship)?'?s? (?:area|portal|site)\b", "memberarea"),
    (r"\b(landing|sales|web) ?pages?\b", r"\1page"),
    (r"\b(?:blog posts?)\b", "blogpost"),
    (r"\b(?:money|cash) ?back\b", "moneyback"),
    (r"\b(?:credit|debit) cards?\b", "card"),
    (r"\b(?:to do)s?\b", "todo"),
    (r"\bphone numbers?\b", "phone"),
)
"""Like `INTENT_PHRASES`, but for names and descriptions too."""

IRREGULAR: Mapping[str, str] = {
    word: root
    for root, words in {
        "buy": "bought buys",
        "pay": "paid",
        "spend": "spent",
        "take": "took taken taking takes",
        "give": "gave given giving gives",
        "send": "sent",
        "get": "got gotten getting",
        "make": "made making",
        "person": "people persons folks",
        "freeze": "froze frozen freezing",
        "put": "putting puts",
        "drop": "dropped dropping",
        "stop": "stopped stopping",
        "begin": "began begun beginning",
        "write": "wrote written writing",
        "leave": "left leaving",
        "lose": "lost losing",
        "create": "creation creating",
        "register": "registration",
        "enroll": "enrol enrols enrolled enrolling",
        "delete": "deletion",
        "remove": "removal",
        "approve": "approval",
        "renew": "renewal",
        "use": "usage used",
        "activate": "activation",
        "suspend": "suspension",
        "terminate": "termination",
        "revoke": "revocation",
        "reactivate": "reactivation",
        "business": "business",
        "access": "access",
        "series": "series",
        "address": "address addresses",
        "status": "status",
        "analytic": "analytics",
        "news": "news",
        "comment": "comments",
        "document": "documents",
        "segment": "segments",
        "quiz": "quizzes",
    }.items()
    for word in words.split()
}
"""Inflected forms that no ending explains, and their root."""

STOP = frozenset(
    """
    a an the to of for from this that these those my our your his her its their in on with and or
    is are was be been being am i we you me us it by at as up out into onto if so but not no than
    then there here do does did can could would will shall should may might must have has had need
    needs want wants wanted wish like please kartra account all every each any some specific
    comprehensive existing via per one ones just only also again back now today already them they
    him how why because after before about certain particular given current currently who's
    help try able via existing ll re ve don doesn isn t s d m
    """.split()  # noqa: SIM905  shorter to read than a list of quoted names
)
