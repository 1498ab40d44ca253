public import AttentionTypes
public import Compute
import Tensors

/// A page of keys and values as integers of 4 bits: keys in groups of up to 32 tokens of a channel,
/// values in groups of up to 32 channels of a token.
///
/// Keys have channels that are large in all tokens, values have none; so a group of either has
/// numbers of one size. A group's integers 0 to 15 stand for `minimum + integer · scale`, both in
/// half precision, so rounded that each number is at most half a scale off. With headDim 64 that is
/// 5 bits a number.
///
/// A kernel does not read it: it is widened to a page of `Float` in a cache of the processor.
///
/// Source: Liu et al. 2024, KIVI, section 3.
public final class QuantisedPage {
  /// The most tokens, or channels, of a group.
  public static var groupLength: Int { 32 }
  /// The newest tokens, which stay as they are.
  public static var residualTokens: Int { 32 }

  /// Tokens that there is room for, a multiple of 16.
  public let tokens: Int
  /// The dimensions of the problem.
  public let shape: AttentionShape
  private let form: Form
  private let storage: AlignedBuffer<UInt8>

  /// Makes room.
  public init(shape: AttentionShape, tokens: Int, layers: Int) {
    precondition(tokens >= 16 && tokens % 16 == 0, "a page of \(tokens) tokens is no whole panels")
    self.tokens = tokens
    self.shape = shape
    form = Form(shape: shape, tokens: tokens)
    storage = AlignedBuffer(
      zeros: Self.byteCount(shape: shape, tokens: tokens, layers: layers))
  }

  /// Its memory.
  public var byteCount: Int { storage.byteCount }

  /// The bytes of a page.
  public static func byteCount(shape: AttentionShape, tokens: Int, layers: Int) -> Int {
    layers * shape.kvHeads * Form(shape: shape, tokens: tokens).headBytes
  }

  /// Takes the first tokens of a layer of a page of `Float`.
  ///
  /// - Complexity: O(numbers of the layer), shared among the threads.
  public func take(
    layer: Int, from page: KeyValuePage, layer source: Int, count: Int, team: ThreadTeam
  ) {
    check(page)
    let form = form
    nonisolated(unsafe) let heads = unsafe page.heads(layer: source)
    nonisolated(unsafe) let base = unsafe base(layer)
    let kvHeads = shape.kvHeads
    team.forEachPart(of: kvHeads, cost: tokens * (form.headDim + form.valueHeadDim)) { part in
      for head in part {
        unsafe form.quantise(heads[head], count: count, to: base + head * form.headBytes)
      }
    }
    withExtendedLifetime(page) {}
  }

  /// Writes the first tokens of a layer to pages of `Float`, several at once.
  ///
  /// - Parameters:
  ///   - pages: what is widened, how many tokens of each, and where to.
  ///   - target: the layer of the pages that are written to.
  public static func widen(
    _ pages: [(page: QuantisedPage, count: Int, target: KeyValuePage)], layer: Int,
    toLayer target: Int = 0, team: ThreadTeam
  ) {
    guard let first = pages.first else { return }
    let (heads, form) = (first.page.shape.kvHeads, first.page.form)
    for page in pages { page.page.check(page.target) }
    nonisolated(unsafe) let targets = unsafe pages.map { unsafe $0.target.heads(layer: target) }
    nonisolated(unsafe) let sources = unsafe pages.map { unsafe $0.page.base(layer) }
    let counts = pages.map(\.count)
    let numbers = form.tokens * (form.headDim + form.valueHeadDim)
    team.forEachPart(of: pages.count * heads, cost: numbers) { part in
      for index in part {
        let (page, head) = index.quotientAndRemainder(dividingBy: heads)
        unsafe form.widen(
          sources[page] + head * form.headBytes, count: counts[page], to: targets[page][head])
      }
    }
    withExtendedLifetime(pages) {}
  }

  private func check(_ page: KeyValuePage) {
    precondition(
      page.shape == shape && page.tokens == tokens && page.elementType == .f32,
      "a page of another form")
  }

  @unsafe
  private func base(_ layer: Int) -> UnsafeMutableRawPointer {
    unsafe UnsafeMutableRawPointer(storage.unsafeBaseAddress)
      + layer * shape.kvHeads * form.headBytes
  }
}

/// Where the numbers of one head lie: codes of keys `[tokens/16][headDim][16]`, their groups
/// `[tokens/32][headDim]`, codes of values `[valueHeadDim/16][tokens][16]`, their groups
/// `[tokens][valueHeadDim/32]`, all rounded up; codes two to a byte, a group two halves.
private struct Form {
  let headDim: Int
  let valueHeadDim: Int
  let tokens: Int

  private static let panel = PackedPanel.width
  private static let codeBytes = PackedPanel.width / 2

  init(shape: AttentionShape, tokens: Int) {
    (headDim, valueHeadDim, self.tokens) = (shape.headDim, shape.valueHeadDim, tokens)
  }

  private static func panels(_ count: Int) -> Int { (count + panel - 1) / panel }
  private static func groups(_ count: Int) -> Int {
    (count + QuantisedPage.groupLength - 1) / QuantisedPage.groupLength
  }

  private var keyGroups: Int { tokens / Self.panel * headDim * Self.codeBytes }
  private var valueCodes: Int { keyGroups + Self.groups(tokens) * headDim * 4 }
  private var valueGroups: Int {
    valueCodes + Self.panels(valueHeadDim) * tokens * Self.codeBytes
  }
  var headBytes: Int { valueGroups + tokens * Self.groups(valueHeadDim) * 4 }

  // MARK: Groups

  /// What integers of a group stand for.
  private struct Group {
    let minimum: Float16
    let scale: Float16

    /// That of numbers from `least` to `greatest`.
    init(least: Float, greatest: Float) {
      let limit = Float(Float16.greatestFiniteMagnitude)
      let clamped = max(-limit, min(limit, least))
      var minimum = Float16(clamped)
      if Float(minimum) > clamped { minimum = minimum.nextDown }
      let span = max(0, (min(limit, greatest) - Float(minimum)) / 15)
      var scale = Float16(min(limit, span))
      if Float(scale) < span, scale < .greatestFiniteMagnitude { scale = scale.nextUp }
      (self.minimum, self.scale) = (minimum, scale)
    }

    @inline(__always)
    func code(_ number: Float) -> UInt8 {
      let scale = Float(scale)
      if scale == 0 { return 0 }
      return UInt8(max(0, min(15, ((number - Float(minimum)) / scale).rounded())))
    }
  }

  @unsafe
  private func store(_ group: Group, at index: Int, of groups: UnsafeMutableRawPointer) {
    unsafe groups.storeBytes(of: group.minimum, toByteOffset: 4 * index, as: Float16.self)
    unsafe groups.storeBytes(of: group.scale, toByteOffset: 4 * index + 2, as: Float16.self)
  }

  /// Sets one of the 16 codes of a row of a panel.
  @unsafe @inline(__always)
  private func store(_ code: UInt8, lane: Int, of row: UnsafeMutablePointer<UInt8>) {
    // The first eight are the lower halves of bytes.
    let (byte, isUpper) = (lane % Self.codeBytes, lane >= Self.codeBytes)
    unsafe row[byte] =
      isUpper ? row[byte] & 0x0F | code << 4 : row[byte] & 0xF0 | code
  }

  // MARK: Quantising

  @unsafe
  func quantise(_ head: PackedHead, count: Int, to base: UnsafeMutableRawPointer) {
    unsafe quantiseKeys(head, count: count, to: base)
    unsafe quantiseValues(head, count: count, to: base)
  }

  @unsafe
  private func quantiseKeys(
    _ head: PackedHead, count: Int, to base: UnsafeMutableRawPointer
  ) {
    let keys = unsafe head.keys.assumingMemoryBound(to: Float.self)
    let codes = unsafe base.assumingMemoryBound(to: UInt8.self)
    let panel = Self.panel
    for group in 0..<Self.groups(count) {
      let first = group * QuantisedPage.groupLength
      let tokens = first..<min(first + QuantisedPage.groupLength, count)
      for channel in 0..<headDim {
        func place(_ token: Int) -> Int {
          (token / panel * headDim + channel) * panel + token % panel
        }
        var (least, greatest) = (Float.infinity, -Float.infinity)
        for token in tokens {
          let number = unsafe keys[place(token)]
          (least, greatest) = (min(least, number), max(greatest, number))
        }
        let range = Group(least: least, greatest: greatest)
        unsafe store(range, at: group * headDim + channel, of: base + keyGroups)
        for token in tokens {
          let row = unsafe codes + (token / panel * headDim + channel) * Self.codeBytes
          unsafe store(range.code(keys[place(token)]), lane: token % panel, of: row)
        }
      }
    }
  }

  @unsafe
  private func quantiseValues(
    _ head: PackedHead, count: Int, to base: UnsafeMutableRawPointer
  ) {
    let values = unsafe head.values.assumingMemoryBound(to: Float.self)
    let codes = unsafe (base + valueCodes).assumingMemoryBound(to: UInt8.self)
    let panel = Self.panel
    let groups = Self.groups(valueHeadDim)
    for token in 0..<count {
      func place(_ channel: Int) -> Int {
        let first = channel / panel * panel
        return first * tokens + token * min(panel, valueHeadDim - first) + channel % panel
      }
      for group in 0..<groups {
        let first = group * QuantisedPage.groupLength
        let channels = first..<min(first + QuantisedPage.groupLength, valueHeadDim)
        var (least, greatest) = (Float.infinity, -Float.infinity)
        for channel in channels {
          let number = unsafe values[place(channel)]
          (least, greatest) = (min(least, number), max(greatest, number))
        }
        let range = Group(least: least, greatest: greatest)
        unsafe store(range, at: token * groups + group, of: base + valueGroups)
        for channel in channels {
          let row = unsafe codes + (channel / panel * tokens + token) * Self.codeBytes
          unsafe store(range.code(values[place(channel)]), lane: channel % panel, of: row)
        }
      }
    }
  }

  // MARK: Widening

  @unsafe
  func widen(_ base: UnsafeMutableRawPointer, count: Int, to head: PackedHead) {
    // What is the same for all rows is asked for once.
    let (panel, codeBytes) = (Self.panel, Self.codeBytes)
    let keys = unsafe head.keys.assumingMemoryBound(to: Float.self)
    let ofKeys = unsafe base + keyGroups
    for index in 0..<Self.panels(count) {
      let group = index * panel / QuantisedPage.groupLength * headDim
      for channel in 0..<headDim {
        let row = index * headDim + channel
        unsafe widen(
          base + row * codeBytes, ofKeys + 4 * (group + channel), to: keys + row * panel,
          width: panel)
      }
    }
    let values = unsafe head.values.assumingMemoryBound(to: Float.self)
    let (codes, ofValues) = unsafe (base + valueCodes, base + valueGroups)
    let groups = Self.groups(valueHeadDim)
    for index in 0..<Self.panels(valueHeadDim) {
      let first = index * panel
      let width = min(panel, valueHeadDim - first)
      let group = first / QuantisedPage.groupLength
      for token in 0..<count {
        unsafe widen(
          codes + (index * tokens + token) * codeBytes,
          ofValues + 4 * (token * groups + group), to: values + first * tokens + token * width,
          width: width)
      }
    }
  }

  /// A row of 16 codes of one group.
  @unsafe @inline(__always)
  private func widen(
    _ codes: UnsafeMutableRawPointer, _ group: UnsafeMutableRawPointer,
    to target: UnsafeMutablePointer<Float>, width: Int
  ) {
    let minimum = unsafe SIMD8<Float>(repeating: Float(group.load(as: Float16.self)))
    let scale = unsafe SIMD8<Float>(
      repeating: Float(group.load(fromByteOffset: 2, as: Float16.self)))
    let bytes = unsafe SIMD8<UInt32>(
      truncatingIfNeeded: codes.loadUnaligned(as: SIMD8<UInt8>.self))
    let low = SIMD8<Float>(SIMD8<Int32>(truncatingIfNeeded: bytes & SIMD8(repeating: 15)))
    let high = SIMD8<Float>(SIMD8<Int32>(truncatingIfNeeded: bytes &>> SIMD8(repeating: 4)))
    let (first, second) = (minimum + low * scale, minimum + high * scale)
    if width == first.scalarCount + second.scalarCount {
      let target = UnsafeMutableRawPointer(target)
      unsafe target.storeBytes(of: first, as: SIMD8<Float>.self)
      unsafe target.storeBytes(of: second, toByteOffset: 32, as: SIMD8<Float>.self)
    } else {
      for lane in 0..<width { unsafe target[lane] = lane < 8 ? first[lane] : second[lane - 8] }
    }
  }
}
