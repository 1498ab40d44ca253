import Attention
import CGyre
import LongNet
import Reporting
import SequenceParallel
import Sharding

extension AttentionRequest {
  /// Reads and checks what a caller asks for; segments come later, from all ranks.
  ///
  /// - Throws: a sentence that names the field.
  init(_ asked: gyre_attention) throws {
    guard unsafe asked.interface == GYRE_INTERFACE else {
      throw unsafe Self.otherVersion(asked.interface)
    }
    shape = try unsafe Self.shape(asked)
    isCausal = unsafe asked.causal != 0
    window = try unsafe Self.positive(asked.window, "window")
    windowDilation = try unsafe Self.positive(asked.window_dilation, "window_dilation") ?? 1
    guard windowDilation == 1 || window != nil else {
      throw UserError("window_dilation is of a window; give window with it.")
    }
    sinks = try unsafe Self.positive(asked.sinks, "sinks")
    guard sinks == nil || window != nil else {
      throw UserError("sinks are seen whatever a window hides; give window with sinks.")
    }
    let heads = shape.queryHeads
    alibiSlopes = unsafe asked.alibi_slopes.map { slopes in
      (0..<heads).map { unsafe slopes[$0] }
    }
    learnedSinks = unsafe asked.learned_sinks.map { logits in
      (0..<heads).map { unsafe logits[$0] }
    }
    if let index = learnedSinks?.firstIndex(where: { !$0.isFinite }) {
      throw UserError("learned_sinks[\(index)] is no finite number; give a logit for each head.")
    }
    softcap = try unsafe Self.softcap(asked.softcap)
    scale = unsafe asked.scale == 0 ? nil : asked.scale
    if let scale, !scale.isFinite { throw UserError("scale is \(scale); give a finite number.") }
    layout = try unsafe Self.layout(asked.layout)
    route = try unsafe Self.route(asked.route)
    arithmetic =
      try unsafe Self.choice(asked.arithmetic, "arithmetic", of: Arithmetic.allCases)
      ?? .f32
    wire =
      try unsafe Self.choice(asked.wire, "wire", of: WireType.allCases)
      ?? (arithmetic == .bf16 ? .bf16 : .f32)
    accumulation = unsafe asked.reproducible == 0 ? .fast : .reproducible
    branches = try unsafe Self.branches(asked)
    if unsafe asked.bias != nil { bias = try unsafe Self.bias(asked, shape, route) }
    guard arithmetic != .bf16 || InstructionSet.inUse.hasBF16 else {
      throw UserError(
        "this processor has no instructions for arithmetic=\"bf16\" (avx512_bf16); leave it out.")
    }
    if !branches.isEmpty { try unsafe requireDilatable(asked) }
  }

  /// A header that is not the library's.
  static func otherVersion(_ interface: Int32) -> UserError {
    UserError(
      "gyre.h is of version \(interface) and the library of version \(GYRE_INTERFACE); "
        + "build and install both together.")
  }

  /// Refuses what dilated attention does not have.
  private func requireDilatable(_ asked: gyre_attention) throws {
    let others = unsafe [
      ("window", window != nil), ("segment_ids", asked.segment_ids != nil),
      ("alibi_slopes", alibiSlopes != nil), ("softcap", softcap != nil),
      ("learned_sinks", learnedSinks != nil), ("bias", bias != nil),
      ("route", route != nil), ("arithmetic", arithmetic != .f32), ("wire", wire != .f32),
      ("reproducible", accumulation == .reproducible),
    ]
    if let (name, _) = others.first(where: \.1) {
      throw UserError("dilated attention has no \(name); leave it out.")
    }
  }

  private static func shape(_ asked: gyre_attention) throws -> AttentionShape {
    let sizes = unsafe [
      ("batch", asked.batch, 1), ("query_heads", asked.query_heads, 1),
      ("kv_heads", asked.kv_heads, 1), ("head_dim", asked.head_dim, 1),
      ("value_head_dim", asked.value_head_dim, 1), ("tokens", asked.tokens, 0),
      ("key_tokens", asked.key_tokens, 0),
    ]
    for (name, size, least) in sizes where size < least || size > 1 << 48 {
      throw UserError("\(name) is \(size); give at least \(least).")
    }
    let (queryHeads, kvHeads) = unsafe (Int(asked.query_heads), Int(asked.kv_heads))
    guard queryHeads % kvHeads == 0 else {
      throw UserError(
        "\(kvHeads) KV heads do not divide \(queryHeads) query heads; make the heads of q a "
          + "multiple of the heads of k and v.")
    }
    let headDims = unsafe [Int(asked.head_dim), Int(asked.value_head_dim)]
    for headDim in headDims where headDim > AttentionShape.largestHeadDim {
      throw UserError(
        "a head dim is \(headDim), and the largest is \(AttentionShape.largestHeadDim).")
    }
    return unsafe AttentionShape(
      batch: Int(asked.batch), queryHeads: queryHeads, kvHeads: kvHeads, headDim: headDims[0],
      valueHeadDim: headDims[1])
  }

  private static func positive(_ number: Int64, _ name: String) throws -> Int? {
    guard number >= 0 else { throw UserError("\(name) is \(number); give at least 1.") }
    return number == 0 ? nil : Int(number)
  }

  private static func softcap(_ number: Double) throws -> Float? {
    if number == 0 { return nil }
    let limit = Float(number)
    guard limit > 0, limit.isNormal, (1 / limit).isNormal else {
      throw UserError(
        "softcap is \(number); give a positive number of ordinary size, such as 50.")
    }
    return limit
  }

  /// The layout with a name.
  @unsafe
  static func layout(
    _ name: UnsafePointer<CChar>?, otherwise usual: Layout = .zigzag
  ) throws -> Layout {
    try unsafe choice(name, "layout", of: Layout.regular) ?? usual
  }

  @unsafe
  private static func route(_ name: UnsafePointer<CChar>?) throws -> Route? {
    guard let name = unsafe name else { return nil }
    let text = unsafe String(cString: name)
    if text == "auto" { return nil }
    if let route = Route.named.first(where: { $0.name == text })?.route { return route }
    let sizes = text.hasPrefix("mesh:") ? text.dropFirst(5).split(separator: "x") : []
    let numbers = sizes.compactMap { Int($0) }
    guard sizes.count == 2, numbers.count == 2, numbers.allSatisfy({ $0 >= 1 }) else {
      let names = ["auto"] + Route.named.map(\.name) + ["mesh:2x3"]
      throw UserError("route is '\(text)'; give one of \(names.joined(separator: ", ")).")
    }
    return .mesh(heads: numbers[0], ring: numbers[1])
  }

  /// What of a bias there is; each rank has the rows of its own queries alone.
  private static func bias(
    _ asked: gyre_attention, _ shape: AttentionShape, _ route: Route?
  ) throws -> BiasShape {
    let (batch, heads) = unsafe (Int(asked.bias_batch), Int(asked.bias_heads))
    guard [1, shape.batch].contains(batch), [1, shape.queryHeads].contains(heads) else {
      throw UserError(
        "bias is of \(batch) sequences and \(heads) heads; give 1 or \(shape.batch), and 1 or "
          + "\(shape.queryHeads).")
    }
    if let route, route.travelling != .keys || route.heads != .nobody {
      throw UserError(
        "a rank has the biases of its own queries and all heads, and with route=\"\(route)\" it "
          + "computes others; give ring, shared, hierarchical or allgather, or leave bias out.")
    }
    return BiasShape(batch: batch, heads: heads, keys: unsafe Int(asked.bias_keys))
  }

  @unsafe
  private static func choice<Choice: RawRepresentable<String>>(
    _ name: UnsafePointer<CChar>?, _ field: String, of choices: [Choice]
  ) throws -> Choice? {
    guard let name = unsafe name else { return nil }
    let text = unsafe String(cString: name)
    guard let choice = choices.first(where: { $0.rawValue == text }) else {
      let names = choices.map(\.rawValue).joined(separator: ", ")
      throw UserError("\(field) is '\(text)'; give one of \(names).")
    }
    return choice
  }

  private static func branches(_ asked: gyre_attention) throws -> [DilatedBranch] {
    let count = unsafe asked.branches
    if count == 0 { return [] }
    guard (1...1024).contains(count), let lengths = unsafe asked.segment_lengths,
      let rates = unsafe asked.dilation_rates
    else {
      throw UserError("dilated attention needs a segment length and a dilation rate a branch.")
    }
    return try (0..<Int(count)).map { branch in
      let (length, rate) = unsafe (lengths[branch], rates[branch])
      guard length > 0, rate > 0 else {
        throw UserError("branch \(length):\(rate) is none; give positive numbers.")
      }
      return DilatedBranch(segmentLength: Int(length), dilationRate: Int(rate))
    }
  }
}
