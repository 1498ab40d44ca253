public import Tensors

/// Query `i` sees key `j` where `|i + offset − j| < width · dilation`, and, of these, every
/// `dilation`-th from its own position on.
///
/// Without dilation it sees its own key and the `width − 1` on either side. With it there are as
/// many, `dilation` apart. Under a causal mask only those before it remain.
///
/// It costs `2 · width − 1` pairs a query, or half of that under a causal mask, however long the
/// sequence is; a rank receives the keys of a window past the edges of its shard.
///
/// Source: Beltagy et al. 2020, Longformer, section 3.1: sliding and dilated windows.
public struct WindowPattern: AttentionPattern {
  /// Keys that a query sees on one side, its own included.
  public let width: Int
  /// How far neighbouring keys of a window are apart.
  public let dilation: Int
  /// How far past its own position the middle of a query's window lies.
  public let offset: Int

  /// Creates a window.
  ///
  /// - Parameters:
  ///   - width: keys on one side, the query's own included; at least 1.
  ///   - dilation: the distance between them; at least 1.
  ///   - offset: `keyTokens − tokens` where there are more keys than queries.
  public init(width: Int, dilation: Int = 1, offset: Int = 0) {
    precondition(width >= 1 && dilation >= 1, "a window of \(width) keys, \(dilation) apart")
    precondition(width <= Int.max / dilation / 2, "a window wider than integers")
    self.width = width
    self.dilation = dilation
    self.offset = offset
  }

  /// Keys that lie between each other are in windows of different queries.
  public var period: Int { dilation }

  private var span: Int { width * dilation }

  /// Compares the ends of the two ranges; where strides are multiples of the dilation, all pairs
  /// have the same remainder, and the answer is as sharp as without one.
  public func coverage(keys: PositionRange, queries: PositionRange) -> Coverage {
    guard let firstKey = keys.first, let lastKey = keys.last,
      let firstQuery = queries.first, let lastQuery = queries.last
    else { return .none }
    // Distances from a key on to a query.
    let least = firstQuery + offset - lastKey
    let largest = lastQuery + offset - firstKey
    if least >= span || largest <= -span { return .none }
    if dilation > 1 {
      let step = commonDivisor(
        dilation, keys.count > 1 ? keys.stride : 0, queries.count > 1 ? queries.stride : 0)
      if least % step != 0 { return .none }
      if step < dilation { return .some }
    }
    return largest < span && least > -span ? .all : .some
  }

  /// Those around its own; nil with a dilation.
  public func visibleKeys(
    of query: Int, in keys: PositionRange, batch: Int, head: Int
  ) -> Range<Int>? {
    guard dilation == 1 else { return nil }
    let middle = query + offset
    return keys.indices(in: middle - span + 1..<middle + span)
  }

  /// Writes 0 inside the window and −∞ outside of it.
  public func fill(
    _ bias: inout MutableSpan<Float>, keys: PositionRange, queries: PositionRange, batch: Int,
    head: Int
  ) {
    var element = 0
    for query in queries {
      for key in keys {
        let distance = query + offset - key
        let isSeen = abs(distance) < span && (dilation == 1 || distance % dilation == 0)
        bias[element] = isSeen ? 0 : -.infinity
        element += 1
      }
    }
  }
}

/// The largest number that divides all three, of which some may be 0 but not the first.
private func commonDivisor(_ a: Int, _ b: Int, _ c: Int) -> Int {
  func divisor(_ a: Int, _ b: Int) -> Int { b == 0 ? a : divisor(b, a % b) }
  return divisor(divisor(a, b), c)
}

/// `--window`: a query sees the keys around itself, with `--window-dilation` every so many-th.
public struct WindowMask: Mask {
  /// Its option and field.
  public static let name = "window"

  /// Keys that a query sees on one side, its own included.
  public let width: Int
  /// How far they are apart.
  public let dilation: Int

  /// Creates the mask.
  public init(width: Int, dilation: Int = 1) {
    self.width = width
    self.dilation = dilation
  }

  /// The width, and the dilation if there is one: `1024`, `1024x2`.
  public var description: String { dilation == 1 ? "\(width)" : "\(width)x\(dilation)" }

  /// Aligned at the bottom right.
  public func pattern(_ inputs: MaskInputs) -> any AttentionPattern {
    // What is wider than the sequence hides nothing, and may leave the integers.
    let most = max(1, inputs.tokens + inputs.keyTokens)
    let dilation = min(dilation, most)
    return WindowPattern(
      width: min(width, most / dilation + 1), dilation: dilation, offset: inputs.offset)
  }

  /// `|t − key| < width · dilation` and `(t − key) mod dilation = 0` for
  /// `t = query + keyTokens − tokens`.
  public func allows(query: Int, key: Int, batch: Int, head: Int, _ inputs: MaskInputs) -> Bool {
    let steps = (query + inputs.offset - key).quotientAndRemainder(dividingBy: dilation)
    return steps.remainder == 0 && steps.quotient < width && steps.quotient > -width
  }

  /// There are `tokens − distance` pairs of every distance that is seen.
  public func pairs(tokens: Double, isCausal: Bool) -> Double? {
    guard tokens > 0 else { return 0 }
    let step = Double(dilation)
    let distances = min(Double(width), ((tokens - 1) / step).rounded(.down) + 1)
    let before = distances * tokens - step * distances * (distances - 1) / 2
    return isCausal ? before : 2 * before - tokens
  }

  /// The width as a number; with a dilation the description.
  public func encode(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    if dilation == 1 { try container.encode(width) } else { try container.encode(description) }
  }

  /// Takes what ``encode(to:)`` writes.
  public init(from decoder: any Decoder) throws {
    let container = try decoder.singleValueContainer()
    if let width = try? container.decode(Int.self), width >= 1 {
      self.init(width: width)
      return
    }
    let numbers = try container.decode(String.self).split(
      separator: "x", omittingEmptySubsequences: false
    ).map { Int($0) }
    guard numbers.count == 2, let width = numbers[0], let dilation = numbers[1], width >= 1,
      dilation >= 1
    else {
      throw DecodingError.dataCorruptedError(
        in: container, debugDescription: "a window is a width, or a width and a dilation")
    }
    self.init(width: width, dilation: dilation)
  }
}
