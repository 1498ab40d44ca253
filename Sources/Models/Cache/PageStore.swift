import Attention
import Tensors

/// The pages of one rank, by number, of one form each: packed as kernels read them, or of 4 bits
/// once nothing is added to them any more.
///
/// Packed pages that have become quantised are used again, and so are quantised ones by their
/// numbers.
final class PageStore {
  let shape: AttentionShape
  let layers: Int
  let type: CacheType
  let pageTokens: Int
  let team: ThreadTeam
  private var packed: [Int: KeyValuePage] = [:]
  private var quantised: [Int: QuantisedPage] = [:]
  /// Numbers of pages whose numbers are quantised now.
  private var isQuantised: Set<Int> = []
  private var spare: [KeyValuePage] = []
  /// How many tokens pages have been given, by number.
  private var filled: [Int: Int] = [:]
  /// A page of one layer, while its tokens come that are to be quantised, and where they are read.
  private lazy var stage = page(layers: 1)
  private lazy var scratch = (0..<max(1, Self.scratchTokens / pageTokens)).map { _ in
    page(layers: 1)
  }
  private var hasStage = false
  private var hasScratch = false

  /// Tokens of one layer that are widened at once, which a processor's own cache has room for.
  static let scratchTokens = 512

  init(shape: AttentionShape, layers: Int, type: CacheType, pageTokens: Int, team: ThreadTeam) {
    self.shape = shape
    self.layers = layers
    self.type = type
    self.pageTokens = pageTokens
    self.team = team
  }

  /// Bytes of all pages, those that are free too, and of what they are widened in.
  var byteCount: Int {
    let pages =
      packed.values.reduce(0) { $0 + $1.byteCount } + spare.reduce(0) { $0 + $1.byteCount }
    let ofOneLayer = (hasStage ? 1 : 0) + (hasScratch ? scratch.count : 0)
    return pages + quantised.values.reduce(0) { $0 + $1.byteCount }
      + ofOneLayer * KeyValueBlock.byteCount(keys: pageTokens, shape: shape, elementType: .f32)
  }

  private func page(layers: Int) -> KeyValuePage {
    KeyValuePage(shape: shape, elementType: type.wire, tokens: pageTokens, layers: layers)
  }

  // MARK: Writing

  /// Writes neighbouring tokens of a page.
  ///
  /// - Parameters:
  ///   - count: all tokens that the page will have, if it is quantised when they are there; nil if
  ///     it stays as it is. Tokens come in order then, of one page after the other.
  func write(
    _ number: Int, keys: borrowing Span<Float>, values: borrowing Span<Float>, layer: Int,
    at index: Int, quantisingAt count: Int?
  ) {
    let written = index + keys.count / (shape.kvHeads * shape.headDim)
    filled[number] = index == 0 ? written : max(written, filled[number] ?? 0)
    guard let count else {
      return packedPage(number).write(keys: keys, values: values, layer: layer, at: index)
    }
    hasStage = true
    stage.write(keys: keys, values: values, layer: 0, at: index)
    if written == count {
      quantisedPage(number).take(layer: layer, from: stage, layer: 0, count: count, team: team)
    }
  }

  /// Makes a page the copy of another.
  func copy(_ source: Int, to target: Int) {
    filled[target] = filled[source]
    if isQuantised.contains(source) {
      widen(source, to: packedPage(target))
    } else {
      packedPage(target).copy(from: packedPage(source))
    }
  }

  /// Makes integers of a page that nothing is added to, unless they are.
  func quantise(_ number: Int) {
    guard let page = packed[number], let count = filled[number] else { return }
    for layer in 0..<layers {
      quantisedPage(number).take(layer: layer, from: page, layer: layer, count: count, team: team)
    }
    packed[number] = nil
    spare.append(page)
  }

  /// Makes a page one that can be written to.
  func open(_ number: Int) {
    guard isQuantised.contains(number) else { return }
    let page = spare.popLast() ?? page(layers: layers)
    widen(number, to: page)
    isQuantised.remove(number)
    packed[number] = page
  }

  /// Forgets what is in pages that nobody uses.
  func forget(_ isFree: (_ number: Int) -> Bool) {
    guard type == .kivi4 else { return }
    for number in packed.keys where isFree(number) {
      if let page = packed.removeValue(forKey: number) { spare.append(page) }
    }
    isQuantised = isQuantised.filter { !isFree($0) }
  }

  private func widen(_ number: Int, to target: KeyValuePage) {
    guard let page = quantised[number] else { return }
    for layer in 0..<layers {
      QuantisedPage.widen(
        [(page, pageTokens, target)], layer: layer, toLayer: layer, team: team)
    }
  }

  private func packedPage(_ number: Int) -> KeyValuePage {
    if let page = packed[number] { return page }
    let page = spare.popLast() ?? page(layers: layers)
    packed[number] = page
    return page
  }

  private func quantisedPage(_ number: Int) -> QuantisedPage {
    isQuantised.insert(number)
    if let page = quantised[number] { return page }
    let page = QuantisedPage(shape: shape, tokens: pageTokens, layers: layers)
    quantised[number] = page
    return page
  }

  // MARK: Reading

  /// Takes pages into the state of queries.
  ///
  /// - Parameter pages: their numbers, and the positions of their first tokens.
  func attend(
    _ queries: borrowing QueryShard, to pages: [(number: Int, positions: PositionRange)],
    layer: Int, state: inout ForwardAccumulator
  ) {
    state.attend(
      queries,
      to: pages.compactMap { page in
        packed[page.number].map { KeyValuePage.Part($0, positions: page.positions) }
      }, layer: layer)
    let others = pages.filter { isQuantised.contains($0.number) }
    if others.isEmpty { return }
    hasScratch = true
    for first in stride(from: 0, to: others.count, by: scratch.count) {
      let part = others[first..<min(first + scratch.count, others.count)]
      let widened = zip(part, scratch).compactMap { page, target in
        quantised[page.number].map { ($0, page.positions.count, target) }
      }
      QuantisedPage.widen(widened, layer: layer, team: team)
      state.attend(
        queries,
        to: zip(part, scratch).map { KeyValuePage.Part($1, positions: $0.positions) }, layer: 0)
    }
  }

  /// Copies tokens of a page into a run of a block.
  ///
  /// - Parameters:
  ///   - tokens: indices in the page.
  ///   - index: where in the run the first of them goes.
  func copy(
    _ tokens: Range<Int>, of number: Int, layer: Int, to block: inout KeyValueBlock, run: Int,
    from index: Int
  ) {
    if let page = packed[number] {
      block.copy(tokens, of: page, layer: layer, toRun: run, from: index, team: team)
    } else if let page = quantised[number], isQuantised.contains(number) {
      hasScratch = true
      QuantisedPage.widen([(page, tokens.upperBound, scratch[0])], layer: layer, team: team)
      block.copy(tokens, of: scratch[0], layer: 0, toRun: run, from: index, team: team)
    }
  }
}
