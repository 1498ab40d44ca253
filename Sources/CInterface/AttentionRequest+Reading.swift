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
    sinks = try unsafe Self.positive(asked.sinks, "sinks")
    guard sinks == nil || window != nil else {
      throw UserError("sinks are seen whatever a window hides; give window with sinks.")
    }
    let heads = shape.queryHeads
    alibiSlopes = unsafe asked.alibi_slopes.map { slopes in
      (0..<heads).map { unsafe slopes[$0] }
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
    guard let route = Route.named.first(where: { $0.name == text })?.route else {
      let names = ["auto"] + Route.named.map(\.name)
      throw UserError("route is '\(text)'; give one of \(names.joined(separator: ", ")).")
    }
    return route
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
