/* One refund that several replicas want to make, and an upstream that executes what it accepts.
 *
 * Property: the refund is executed at most once. Replicas stop at any step and pause as long as
 * they like; a request stays on the network as long as it likes; the upstream applies an accepted
 * request up to D ticks later. `make model` checks each row of the table in tools/model.py.
 *
 * Constants, all given by -D:
 *   REPLICAS    replicas that want the refund
 *   TMAX        the last tick
 *   EXP         ticks from the commit of an intent to the end of its right to send
 *   D           most ticks from acceptance to effect
 *   FENCE       the upstream refuses a request whose credential has ended
 *   CHECK       a replica looks at the clock before it sends
 *   QUARANTINE  ticks after the end of the right to send before a look may settle as failed
 *   SKEW        ticks by which the upstream's clock is behind
 *   TAKEOVER    another replica may send an unknown attempt again
 *   FAILOVER    a promoted standby may have lost the newest commit
 *   WITNESS     0: check the property. Otherwise: show that a situation is reached at all:
 *               1 a second attempt is executed after the first was settled as failed
 *               2 the upstream refuses an ended credential
 *               3 the effect comes after the intent became unknown
 *               4 a replica records the upstream's answer
 */
#define ATTEMPTS 4
#define MEETS(number, situation) assert(WITNESS != number || !(situation))

mtype = { FREE, RUNNING, UNKNOWN, DONE };

/* The ledger's row of this refund. Each atomic block that changes it is one commit. */
mtype state = FREE;
byte begun;                     /* the tick of the newest intent */
byte attempts;                  /* intents so far; the newest one is attempts - 1 */

byte now;
byte executed;                  /* effects at the upstream */
bool accepted[ATTEMPTS];        /* accepted, and its effect still to come */
byte accepted_at[ATTEMPTS];
bool answered[ATTEMPTS];        /* the upstream's answer is ready */

chan network = [3] of { byte, byte };   /* end of the credential, attempt */

#define OVERDUE(i) (accepted[i] && now >= accepted_at[i] + D)
#define EXECUTE(i) atomic { accepted[i] -> \
    accepted[i] = false; executed++; \
    if :: WITNESS == 0 -> assert(executed <= 1) :: else fi; \
    MEETS(1, i == 1); MEETS(3, state == UNKNOWN); \
    answered[i] = true }

active proctype Clock() {
  do
  :: atomic { now < TMAX && !(OVERDUE(0) || OVERDUE(1) || OVERDUE(2) || OVERDUE(3)) -> now++ }
  :: now == TMAX -> break
  od
}

active proctype Upstream() {
  byte ends, who;
  end: do
  :: atomic { network?ends,who ->
       if
       :: FENCE && now >= ends + SKEW -> MEETS(2, true)
       :: else -> accepted[who] = true; accepted_at[who] = now
       fi }
  :: EXECUTE(0)
  :: EXECUTE(1)
  :: EXECUTE(2)
  :: EXECUTE(3)
  od
}

proctype Replica() {
  byte mine, ends, tries = 0;
  begin:
  tries++;
  if :: tries > 2 -> goto stop :: else fi;
  if
  :: atomic { state == FREE && attempts < ATTEMPTS ->
       state = RUNNING; mine = attempts; attempts++; begun = now; ends = now + EXP }
  :: state == DONE -> goto stop
  :: now == TMAX -> goto stop
  fi;
  if :: goto stop :: skip fi;             /* it dies here, or it pauses as long as it likes */
  if :: CHECK && now >= ends -> goto unsent :: else fi;
  network!ends,mine;                      /* a pause fits between the check and this, too */
  if
  :: goto stop                            /* it dies while it waits */
  :: now >= ends -> goto stop             /* it gives up waiting */
  :: atomic { answered[mine] ->
       if
       :: (state == RUNNING || state == UNKNOWN) && attempts == mine + 1 ->
            MEETS(4, true); state = DONE
       :: else
       fi };
     goto stop
  fi;
  unsent:
  atomic { if :: state == RUNNING && attempts == mine + 1 -> state = FREE :: else fi };
  goto begin;
  stop: skip
}

/* What any replica may record about an intent of another one. */
active proctype Others() {
  end: do
  :: atomic { state == RUNNING && now > begun + EXP -> state = UNKNOWN }
  :: atomic { state == UNKNOWN && executed > 0 -> state = DONE }
  :: atomic { state == UNKNOWN && executed == 0 && now > begun + EXP + QUARANTINE ->
       state = FREE }                     /* looks saw no effect */
  :: atomic { TAKEOVER && state == UNKNOWN && executed == 0 ->
       state = RUNNING; begun = now; network!(now + EXP),(attempts - 1) }
  :: atomic { FAILOVER && attempts == 1 && state != FREE -> state = FREE }
  od
}

init {
  byte started = 0;
  atomic { do :: started < REPLICAS -> run Replica(); started++ :: else -> break od; started = 0 }
}
