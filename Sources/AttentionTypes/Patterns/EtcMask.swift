import Tensors

/// `--etc-radius`: long tokens see those within a radius and the global tokens, which see all.
///
/// It shows what a window of one more and the same global tokens show. The labels that scores
/// depend on beside it are a score rule's: ``LabelBias``.
///
/// Source: Ainslie et al. 2020, ETC, section 3.2: global–local attention.
public struct EtcMask: Mask {
  /// Its option and field.
  public static let name = "etc-radius"
  /// Sentences of tokens.
  public static let sentences = "etc_sentences"

  /// How far long tokens see to either side.
  public let radius: Int
  /// The global tokens.
  public let globals: GlobalMask

  /// Creates the mask.
  public init(radius: Int, globals: GlobalMask) {
    self.radius = radius
    self.globals = globals
  }

  /// The radius.
  public var description: String { "\(radius)" }
  /// For example `ETC radius 84`.
  public var words: String { "ETC radius \(radius)" }

  private var window: WindowMask { WindowMask(width: min(radius, Int.max - 1) + 1) }

  /// The sentence of each token.
  public var tensors: [MaskTensor] {
    [MaskTensor(Self.sentences, [.i32, .i64], "[batch, keyTokens]", isOptional: true)]
  }

  /// Refuses a table of another shape.
  public func check(_ inputs: MaskInputs) throws {
    guard let table = inputs.tables[Self.sentences] else { return }
    guard table.shape == [inputs.batch, inputs.keyTokens] else {
      throw MaskError(
        "\(Self.sentences) is \(table.shape); give [batch, keyTokens], the sentence of each token "
          + "or -1, here \([inputs.batch, inputs.keyTokens]).")
    }
  }

  /// As many sentences of random lengths as there are global tokens, one for each.
  public func drawn(
    for inputs: MaskInputs, from random: inout MaskRandom
  ) -> [String: MaskTable] {
    let tokens = globals.tokens.flatMap { Array($0.clamped(to: 0..<inputs.keyTokens)) }
    var numbers: [Int32] = []
    for _ in 0..<inputs.batch {
      let starts = random.starts(of: inputs.keyTokens, pieces: tokens.count)
      var own: [Int32] = []
      for (sentence, start) in starts.enumerated() {
        let end = sentence + 1 < starts.count ? starts[sentence + 1] : inputs.keyTokens
        own += repeatElement(Int32(sentence), count: end - start)
      }
      for (sentence, token) in tokens.enumerated() { own[token] = Int32(sentence) }
      numbers += own
    }
    return [
      Self.sentences: MaskTable(shape: [inputs.batch, inputs.keyTokens], numbers: numbers)
    ]
  }

  /// What the window shows, and what global tokens do.
  public func pattern(_ inputs: MaskInputs) -> any AttentionPattern {
    UnitedPattern([window.pattern(inputs), globals.pattern(inputs)])
  }

  /// The labels of a problem.
  ///
  /// - Parameter distance: where labels of distances end.
  public func labels(_ inputs: MaskInputs, distance: Int) -> RelativeLabels {
    RelativeLabels(
      distance: distance, globals: globals.tokens, offset: inputs.offset,
      keyTokens: inputs.keyTokens, sentences: inputs.tables[Self.sentences]?.numbers ?? [])
  }

  /// They are no further apart than the radius, or one of them is global.
  public func allows(query: Int, key: Int, batch: Int, head: Int, _ inputs: MaskInputs) -> Bool {
    abs(query + inputs.offset - key) <= radius
      || globals.allows(query: query, key: key, batch: batch, head: head, inputs)
  }

  /// The radius and the global tokens, `84:0-15`.
  public func encode(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    try container.encode("\(radius):\(globals)")
  }

  /// Takes what ``encode(to:)`` writes.
  public init(from decoder: any Decoder) throws {
    let container = try decoder.singleValueContainer()
    let parts = try container.decode(String.self).split(separator: ":", maxSplits: 1)
    guard parts.count == 2, let radius = Int(parts[0]), radius >= 0,
      let globals = GlobalMask(parts[1])
    else {
      throw DecodingError.dataCorruptedError(
        in: container, debugDescription: "ETC has a radius and global tokens")
    }
    self.init(radius: radius, globals: globals)
  }
}
