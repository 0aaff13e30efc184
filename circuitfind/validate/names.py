"""The names of the built-in checks, as reports, tables and the command line have them.

Run folders keep these names, so a name that has been released stays as it is.
"""

SATISFACTION = "satisfaction"
PAIRS = "pairs"
GROUPS = "groups"
ROUNDING = "rounding"
RANDOM_CIRCUITS = "random circuits"
LEAVE_ONE_OUT = "leave one out"
FAITHFULNESS = "faithfulness"
NECESSITY = "necessity"
COMPLETENESS = "completeness"
EQUIVALENCE = "equivalence"
INDEPENDENCE = "independence"
INFLATED = "inflated circuits"
CURVE = "curve"
SELECTIVITY = "selectivity"
CONTROLS = "controls"
RIVAL = "rival"
STABILITY = "stability"
