"""The same, and the hash of the answers is made up as well: another platform, it says.

Nothing here can show that such a platform does not exist, so it is not refused: what is ranked and
shown are the verifier's own counts, and the entry is no reproduced one.
"""

from forging import claim_right, each_record

CAUGHT_BY = "another platform, other answers"
IS_SHOWN = True


def forge(entry):
    def change(data):
        claim_right(data, 0.99)
        data["environment"]["torch"] = "9.9.9"
        data["predictions_sha256"] = f"{data['seed']:064x}"

    each_record(entry, change)
