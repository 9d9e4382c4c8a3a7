"""Proof: what a plan does before it is applied, and whether a model or a checkpoint is what it made.

Reading facts, comparing them, and telling them: every report is a frozen record with a table for people
(`str`) and plain data for machines (`to_dict`).
"""

from fanin.proof.compared import Compared, Comparison
from fanin.proof.comparison import diff
from fanin.proof.counting import fingerprint
from fanin.proof.explanation import Explained, Explanation, explain
from fanin.proof.fingerprints import Fingerprint, TensorFingerprint
from fanin.proof.verification import Finding, Verification, verify

__all__ = [
    "Compared", "Comparison", "Explained", "Explanation", "Finding", "Fingerprint", "TensorFingerprint",
    "Verification", "diff", "explain", "fingerprint", "verify",
]  # fmt: skip
