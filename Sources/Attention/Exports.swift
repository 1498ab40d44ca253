// A thread team is an argument of this module's functions, and a score rule is written in vectors.
@_exported public import Compute
