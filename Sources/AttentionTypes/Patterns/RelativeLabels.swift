import Tensors

/// Which label a query and a key have: how far they are apart, up to a distance, or whether one of
/// them is a global token of the other's sentence.
///
/// With m the distance, of tokens of one kind, long ones or global ones, `r = j − t` is label
/// `min(r, m)` for `r ≥ 0` and `m + min(−r, m)` for `r < 0`. A long token and a global one have
/// label 2m + 1, or 2m + 2 if they are of one sentence.
///
/// Source: Ainslie et al. 2020, ETC, section 3.2.1.
public struct RelativeLabels: Hashable, Sendable {
  /// m, where labels of distances end.
  public let distance: Int
  /// Positions of global tokens among the keys, ascending, without overlap.
  public let globals: [Range<Int>]
  /// How far past its own index a query stands among the keys.
  public let offset: Int
  /// `[batch][keyTokens]`, the sentence of each token, −1 for none; empty if there are no
  /// sentences.
  private let sentences: [Int32]
  private let keyTokens: Int
  /// For each range of global tokens, how many there are before it.
  private let before: [Int]

  /// Takes where global tokens are, and sentences `[batch][keyTokens]` of all tokens, if there are
  /// any.
  public init(
    distance: Int, globals: [Range<Int>], offset: Int, keyTokens: Int, sentences: [Int32] = []
  ) {
    self.distance = distance
    self.globals = GlobalPattern.merged(globals)
    self.offset = offset
    self.keyTokens = keyTokens
    self.sentences = sentences
    var before: [Int] = []
    for range in self.globals { before.append((before.last ?? 0) + range.count) }
    self.before = zip(before, self.globals).map { $0 - $1.count }
  }

  /// Labels, 2m + 3.
  public var count: Int { 2 * distance + 3 }

  /// Global tokens.
  public var globalCount: Int { globals.reduce(0) { $0 + $1.count } }

  /// The number of a global token among them; nil for others.
  func globalIndex(of position: Int) -> Int? {
    let index = globals.partitioningIndex { $0.upperBound > position }
    guard index < globals.count, globals[index].contains(position) else { return nil }
    return before[index] + position - globals[index].lowerBound
  }

  /// Whether some of these positions may be global.
  func mayHaveGlobals(_ first: Int, _ last: Int) -> Bool {
    let index = globals.partitioningIndex { $0.upperBound > first }
    return index < globals.count && globals[index].lowerBound <= last
  }

  /// The label of two tokens of one kind, `r = j − t`.
  @inline(__always)
  func label(at r: Int) -> Int {
    r >= 0 ? min(r, distance) : distance + min(-r, distance)
  }

  /// The label of a query and a key.
  ///
  /// - Parameters:
  ///   - position: where the query stands among the keys.
  ///   - isGlobal: whether it is a global token.
  func label(batch: Int, position: Int, isGlobal: Bool, key: Int) -> Int {
    if (globalIndex(of: key) != nil) == isGlobal { return label(at: key - position) }
    // A query before the first key is of no sentence.
    if sentences.isEmpty || position < 0 { return 2 * distance + 1 }
    let own = sentences[batch * keyTokens + position]
    let isOne = own >= 0 && own == sentences[batch * keyTokens + key]
    return 2 * distance + (isOne ? 2 : 1)
  }

  /// The memory of sentences, in bytes.
  public var byteCount: Int { 4 * sentences.count }
}
