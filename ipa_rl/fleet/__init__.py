"""Several pipelines that share resources: what each may occupy, every adaptation interval.

`ipa_rl.fleet.joint` finds the joint optimum of one moment, `ipa_rl.fleet.ledger` the way there: nothing is
given to one pipeline before another has let go of it.
"""
