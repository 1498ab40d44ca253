/// What the products of queries, keys and values are computed of.
///
/// The softmax, log-sum-exps and all sums are in `Float` always.
public enum Arithmetic: String, Hashable, Sendable, CaseIterable {
  /// Of `Float`.
  case f32
  /// Of bf16: queries, keys, values, the gradients of outputs, weights and the gradients of scores
  /// are rounded to nearest even before they are multiplied, and products are summed in `Float`,
  /// in pairs.
  ///
  /// Docs/Numerics.md says which bits come of it.
  case bf16
}

extension Arithmetic: CustomStringConvertible {
  /// The name on the command line.
  public var description: String { rawValue }
}
