"""Whether what a policy sees and plans is like what it was trained on and calibrated with.

    support, residual, continuity    one score each
    scores                           all of them, for every chunk
    conformal, calibration           thresholds from episodes that went well; guard.json
    alarm                            scores over time -> NOMINAL, CAUTION or HOLD
    guardian                         all together: a chunk in, an assessment out
    watching                         chunk after chunk: what follows for the next ones

Import from these; a bundle looks at `calibration` and `support` when it is loaded.
"""
