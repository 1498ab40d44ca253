/// What products of rows with stored weights are computed of; sums are in `Float` always.
public enum ProductArithmetic: String, Hashable, Sendable, CaseIterable {
  /// Of `Float`.
  case f32
  /// Of bf16: activations and weights are rounded.
  case bf16
  /// Of integers of eight bits: activations and weights are rounded to multiples of a scale that 32
  /// neighbours of a row share, `max |x| / 127`; the products of those are summed exactly.
  case int8
}

extension ProductArithmetic: CustomStringConvertible {
  /// The name on the command line.
  public var description: String { rawValue }
}
