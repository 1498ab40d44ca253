// Shapes, patterns, rules, a thread team and an instruction set are arguments of this module's
// functions, and a score rule is written in vectors.
@_exported public import AttentionTypes
@_exported public import Compute
