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

  /// The whole numbers that it reads from the input, which ``MaskInputs`` has for what follows.
  var tensors: [MaskTensor] { get }

  /// Refuses numbers of another shape, or that mean nothing.
  ///
  /// - Throws: a ``MaskError``.
  func check(_ inputs: MaskInputs) throws

  /// Numbers for a problem that has no input, of which every rank makes the same.
  ///
  /// - Parameter random: a source of numbers that depends on the seed of the problem alone.
  func drawn(
    for inputs: MaskInputs, from random: inout MaskRandom
  ) -> [String: MaskTable]

  /// What kernels ask.
  func pattern(_ inputs: MaskInputs) -> any AttentionPattern

  /// What becomes of scores that it shows; nil if they stay as they are.
  func scoreRule(_ inputs: MaskInputs) -> (any ScoreRule)?

  /// Whether a query sees a key: the definition, which checks ask.
  ///
  /// It shares no code with ``pattern(_:)``, which is held to it.
  ///
  /// - Parameters:
  ///   - query: its index among the queries of a sequence.
  ///   - key: its index among the keys.
  ///   - batch: the sequence.
  ///   - head: the query head.
  func allows(query: Int, key: Int, batch: Int, head: Int, _ inputs: MaskInputs) -> Bool

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

  /// None.
  public var tensors: [MaskTensor] { [] }

  /// There is nothing to refuse.
  public func check(_ inputs: MaskInputs) throws {}

  /// None.
  public func drawn(
    for inputs: MaskInputs, from random: inout MaskRandom
  ) -> [String: MaskTable] { [:] }

  /// Scores stay as they are.
  public func scoreRule(_ inputs: MaskInputs) -> (any ScoreRule)? { nil }

  /// Counted.
  public func pairs(tokens: Double, isCausal: Bool) -> Double? { nil }
}

/// Random numbers for masks of problems without an input: a function of the seed alone.
///
/// Source: Steele, Lea, Flood 2014, "Fast splittable pseudorandom number generators": SplitMix64.
public struct MaskRandom: RandomNumberGenerator, Sendable {
  private var state: UInt64

  /// The numbers of a seed.
  public init(seed: UInt64) { state = seed }

  /// The next word.
  public mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var word = state
    word = (word ^ (word >> 30)) &* 0xBF58_476D_1CE4_E5B9
    word = (word ^ (word >> 27)) &* 0x94D0_49BB_1331_11EB
    return word ^ (word >> 31)
  }

  /// Cuts numbers from 0 on into stretches of random lengths, none of them empty.
  ///
  /// - Returns: where they begin, ascending from 0.
  mutating func starts(of count: Int, pieces: Int) -> [Int] {
    guard count > 0 else { return [] }
    var starts: Set<Int> = [0]
    for _ in 1..<Swift.max(2, pieces) where starts.count < pieces {
      starts.insert(Int.random(in: 0..<count, using: &self))
    }
    return starts.sorted()
  }
}
