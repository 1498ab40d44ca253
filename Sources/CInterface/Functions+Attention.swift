import Attention
public import CGyre
import MPI
import Reporting
import SequenceParallel
import Sharding
import Tensors

extension Door {
  /// Has the ranks meet for a pass, and says what computes it.
  @unsafe
  fileprivate func prepare(
    _ asked: UnsafePointer<gyre_attention>?, complaint: UnsafePointer<CChar>?, pass: String,
    isComplete: Bool
  ) throws -> (request: AttentionRequest, connection: any Connection, tokens: (Int, Int)) {
    let world = joined.communicator.shared()
    var complaint = unsafe complaint.map { unsafe String(cString: $0) }
    var request: AttentionRequest?
    var tokens = (queries: 0, keys: 0)
    if complaint == nil {
      do {
        guard let asked = unsafe asked else { throw UserError("there is no gyre_attention.") }
        guard isComplete else { throw UserError("a tensor or a place for one is NULL.") }
        request = unsafe try AttentionRequest(asked.pointee)
        tokens = unsafe (Int(asked.pointee.tokens), Int(asked.pointee.key_tokens))
      } catch {
        complaint = "\(error)"
      }
    }
    let hasSegments = unsafe asked?.pointee.segment_ids != nil
    let words = (request?.words(pass) ?? "") + (hasSegments ? " with segments" : "")
    let met = try world.meet(for: words, complaint: complaint, tokens: tokens)
    guard var request, let asked = unsafe asked else {
      preconditionFailure("a rank without a request has a complaint")
    }
    try request.take(met)
    if hasSegments { try unsafe gatherSegments(asked.pointee, into: &request) }
    if request.bias != nil { try unsafe requireFinite(asked.pointee.bias, request) }
    let connection = try connection(for: request)
    try joined.communicator.together {
      try unsafe connection.take(request, bias: asked.pointee.bias)
    }
    return (request, connection, (tokens.queries, tokens.keys))
  }

  /// Refuses a bias that hides pairs, or is no number.
  @unsafe
  private func requireFinite(
    _ bias: UnsafePointer<Float>?, _ request: AttentionRequest
  ) throws {
    try joined.communicator.together {
      let shape = request.biasShape
      let rows = request.queries.tokenCount(of: joined.communicator.rank)
      let part: Shape = [shape[0], shape[1], rows, shape[3]]
      let tensor = unsafe borrowed(bias, part)
      guard let place = team.firstNonFiniteIndex(of: tensor.span) else { return }
      throw UserError(
        "bias is \(tensor.span[place]) at \(part.index(ofFlat: place)) of the rank's rows; give "
          + "finite numbers, and hide pairs by causal, window or segment_ids.")
    }
  }

  /// Puts the segments of all ranks in the order of positions.
  private func gatherSegments(
    _ asked: gyre_attention, into request: inout AttentionRequest
  ) throws {
    let (batch, rank) = (request.shape.batch, joined.communicator.rank)
    func whole(_ own: UnsafePointer<Int32>, _ sharding: [[PositionRange]], _ total: Int) throws
      -> [Int32]
    {
      let count = sharding[rank].reduce(0) { $0 + $1.count }
      let parts = try joined.communicator.allGather(
        (0..<batch * count).map { unsafe own[$0] })
      var numbers = [Int32](repeating: 0, count: batch * total)
      for (part, runs) in zip(parts, sharding) {
        var index = 0
        for sequence in 0..<batch {
          for position in runs.joined() {
            numbers[sequence * total + position] = part[index]
            index += 1
          }
        }
      }
      return numbers
    }
    guard let own = unsafe asked.segment_ids else { return }
    let hasKeys = try joined.communicator.together {
      let hasKeys = unsafe asked.key_segment_ids != nil
      guard hasKeys || request.tokens == request.keyTokens else {
        throw UserError(
          "there are \(request.tokens) queries and \(request.keyTokens) keys; give "
            + "key_segment_ids beside segment_ids.")
      }
      return hasKeys
    }
    let queries = try unsafe whole(own, request.queries.shards, request.tokens)
    var keys: [Int32]?
    if hasKeys, let own = unsafe asked.key_segment_ids {
      keys = try unsafe whole(own, request.keys.shards, request.keyTokens)
    }
    request.segments = AttentionRequest.Segments(queries: queries, keys: keys)
  }
}

/// Shapes of a rank's tensors.
private struct RankShapes {
  let q, k, v, o, lse: Shape

  init(_ shape: AttentionShape, tokens: (queries: Int, keys: Int)) {
    q = [shape.batch, tokens.queries, shape.queryHeads, shape.headDim]
    k = [shape.batch, tokens.keys, shape.kvHeads, shape.headDim]
    v = [shape.batch, tokens.keys, shape.kvHeads, shape.valueHeadDim]
    o = [shape.batch, tokens.queries, shape.queryHeads, shape.valueHeadDim]
    lse = [shape.batch, shape.queryHeads, tokens.queries]
  }
}

/// The forward pass.
@c @implementation
public func gyre_attend(
  _ attention: UnsafePointer<gyre_attention>?, _ complaint: UnsafePointer<CChar>?,
  _ q: UnsafePointer<Float>?, _ k: UnsafePointer<Float>?, _ v: UnsafePointer<Float>?,
  _ o: UnsafeMutablePointer<gyre_tensor>?, _ lse: UnsafeMutablePointer<gyre_tensor>?,
  _ lse_rest: UnsafeMutablePointer<gyre_tensor>?
) -> Int32 {
  Library.callInJob { door in
    let queries = unsafe attention?.pointee.tokens ?? 0
    let keys = unsafe attention?.pointee.key_tokens ?? 0
    let isThere = unsafe (q != nil || queries == 0) && (k != nil && v != nil || keys == 0)
    let isComplete = unsafe isThere && o != nil && lse != nil && lse_rest != nil
    let (request, connection, tokens) = try unsafe door.prepare(
      attention, complaint: complaint, pass: "attention", isComplete: isComplete)
    let shapes = RankShapes(request.shape, tokens: tokens)
    var output = try unsafe connection.forward(
      q: borrowed(q, shapes.q), k: borrowed(k, shapes.k), v: borrowed(v, shapes.v))
    if let sinks = request.learnedSinks {
      output = LearnedSinks(sinks).applied(to: output, team: door.team)
    }
    unsafe give(output.o, to: o)
    unsafe give(output.lse, to: lse)
    unsafe give(output.lseRemainder, to: lse_rest)
  }
}

/// The backward pass.
@c @implementation
public func gyre_attend_backward(
  _ attention: UnsafePointer<gyre_attention>?, _ complaint: UnsafePointer<CChar>?,
  _ q: UnsafePointer<Float>?, _ k: UnsafePointer<Float>?, _ v: UnsafePointer<Float>?,
  _ o: UnsafePointer<Float>?, _ lse: UnsafePointer<Float>?, _ lse_rest: UnsafePointer<Float>?,
  _ output_gradient: UnsafePointer<Float>?, _ dq: UnsafeMutablePointer<gyre_tensor>?,
  _ dk: UnsafeMutablePointer<gyre_tensor>?, _ dv: UnsafeMutablePointer<gyre_tensor>?,
  _ dsinks: UnsafeMutablePointer<gyre_tensor>?, _ dbias: UnsafeMutablePointer<gyre_tensor>?
) -> Int32 {
  Library.callInJob { door in
    let queries = unsafe attention?.pointee.tokens ?? 0
    let keys = unsafe attention?.pointee.key_tokens ?? 0
    let hasOutput = unsafe o != nil && lse != nil && lse_rest != nil && output_gradient != nil
    let hasQueries = unsafe q != nil && hasOutput || queries == 0
    let isThere = unsafe hasQueries && (k != nil && v != nil || keys == 0)
    let isComplete = unsafe isThere && dq != nil && dk != nil && dv != nil
    let (request, connection, tokens) = try unsafe door.prepare(
      attention, complaint: complaint, pass: "gradients of attention", isComplete: isComplete)
    let shapes = RankShapes(request.shape, tokens: tokens)
    let output = unsafe AttentionOutput(
      o: borrowed(o, shapes.o), lse: borrowed(lse, shapes.lse),
      lseRemainder: borrowed(lse_rest, shapes.lse))
    let gradients = try unsafe connection.backward(
      q: borrowed(q, shapes.q), k: borrowed(k, shapes.k), v: borrowed(v, shapes.v),
      output: output, outputGradient: borrowed(output_gradient, shapes.o))
    unsafe give(gradients.dq, to: dq)
    unsafe give(gradients.dk, to: dk)
    unsafe give(gradients.dv, to: dv)
    if let found = connection.biasGradients() { unsafe give(found, to: dbias) }
    if let sinks = request.learnedSinks {
      let found = try door.gradient(
        of: LearnedSinks(sinks), output, unsafe borrowed(output_gradient, shapes.o), request)
      unsafe give(found, to: dsinks)
    }
  }
}

extension Door {
  /// The gradients of learned sinks, on rank 0; zeros elsewhere.
  fileprivate func gradient(
    of sinks: LearnedSinks, _ output: borrowing AttentionOutput,
    _ outputGradient: borrowing Tensor<Float>, _ request: AttentionRequest
  ) throws -> Tensor<Float> {
    let world = joined.communicator.shared()
    let own = sinks.gradientSums(
      output, outputGradient: outputGradient, runs: request.queries.shards[world.rank],
      team: team)
    let parts = try world.allGather(own)
    var gradient = Tensor<Float>(zeros: [sinks.logits.count])
    if world.rank == 0 {
      var numbers = gradient.mutableSpan
      for (head, number) in sinks.gradient(merging: parts).enumerated() { numbers[head] = number }
    }
    return gradient
  }
}
