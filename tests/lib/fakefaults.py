"""What a test has ordered to go wrong.

A fault is a dict: {KIND: NAME, "nth": n, "times": t, "do": WHAT, ...}. KIND is `on` (a QMP
command), `agent` (an agent command) or `event`; NAME may be "*". It strikes at the n-th (1) and
the t (1) occurrences from there on, counted since it was ordered. What `do` may be:

  on      refuse (class, desc)       an error instead of the command
          drop-before, drop-after    the connection closes before, after it is executed
          drop-replied               the same once the reply is sent
          late                       executed, the reply held until the test releases it
          never-before, never        no reply to it or to a later one; executed by `never`
          die-before, die-after      QEMU dies before, after it is executed, and says nothing more
          die-replied                QEMU dies once the reply is sent
          die-in-N                   QEMU dies in a transaction, behind N of its actions
          quit                       QEMU ends in order before it
          stop, cont                 a stranger's command comes first
          break (image)              an image fails from then on, see fakestall.Broken
          others (commands)          several of them, each a pair of name and arguments
  agent   see fakeagent.Agent.faulty
  event   lose                       the client does not get it
"""


class Faults:
    def __init__(self):
        self.orders = []
        self.held = []          # what a release does

    def arm(self, order):
        self.orders.append(dict(order, seen=0))

    def take(self, kind, name):
        """The fault that strikes this occurrence, if any."""
        struck = None
        for order in self.orders:
            if order.get(kind) not in (name, "*"):
                continue
            order["seen"] += 1
            first = order.get("nth", 1)
            if first <= order["seen"] < first + order.get("times", 1) and struck is None:
                struck = order
        return struck

    def release(self):
        held, self.held = self.held, []
        for action in held:
            action()
