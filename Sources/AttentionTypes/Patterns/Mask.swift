/// A mask that a run can be asked for: its name, the pattern that it makes, and its definition.
///
/// Each is in its pattern's file. Where a run has several, a query sees a key if all of them allow
/// it; some masks allow what one other mask would not.
public protocol Mask: Codable, Hashable, Sendable, CustomStringConvertible {
  /// Its option on the command line without dashes, and its field in reports, which holds the mask
  /// as it is encoded.
  static var name: String { get }

  /// What that field holds without the mask; nil for null.
  static var absence: Bool? { get }

  /// The kind of mask that hides nothing that this one shows; nil if it hides and shows by itself.
  static var exempted: (any Mask.Type)? { get }

  /// The value of its option: `true`, or a number.
  var description: String { get }

  /// The mask in a word or two, for people.
  var words: String { get }

  /// What kernels ask.
  ///
  /// - Parameters:
  ///   - tokens: queries of a sequence; where they are fewer than the keys, its last.
  ///   - keyTokens: its keys.
  func pattern(tokens: Int, keyTokens: Int) -> any AttentionPattern

  /// Whether a query sees a key: the definition, which checks ask.
  ///
  /// It shares no code with ``pattern(tokens:keyTokens:)``, which is held to it.
  func allows(query: Int, key: Int, tokens: Int, keyTokens: Int) -> Bool

  /// The visible pairs of one head where a sequence attends to itself under this mask alone, or
  /// under a causal one too, in closed form and in floating point since they may exceed an integer;
  /// nil where they have to be counted.
  func pairs(tokens: Double, isCausal: Bool) -> Double?
}

extension Mask {
  /// Null.
  public static var absence: Bool? { nil }

  /// None.
  public static var exempted: (any Mask.Type)? { nil }

  /// Name and value: `window 1024`.
  public var words: String { "\(Self.name) \(self)" }

  /// Counted.
  public func pairs(tokens: Double, isCausal: Bool) -> Double? { nil }
}
