"""The same on the platform of the verifier."""

from forging import claim_right, each_record

CAUGHT_BY = "different predictions on the same platform"


def forge(entry):
    def change(data):
        claim_right(data, 0.99)
        data["predictions_sha256"] = f"{data['seed']:064x}"

    each_record(entry, change)
