public import Attention

/// How keys and values are kept.
public enum CacheType: String, Hashable, Sendable, CaseIterable {
  /// As they are.
  case f32
  /// IEEE 754 binary16.
  case f16
  /// The upper half of a `Float`.
  case bf16
  /// Integers of 8 bits times a scale for each token and KV head.
  case int8
  /// Integers of 4 bits, keys by channels and values by tokens, but for the newest tokens; see
  /// `QuantisedPage`.
  case kivi4

  /// The form in which they travel while a prompt is read, and in which the newest are kept: what
  /// is kept in 4 bits is as it is before.
  public var wire: WireType {
    switch self {
    case .f32, .kivi4: .f32
    case .f16: .f16
    case .bf16: .bf16
    case .int8: .int8
    }
  }
}
