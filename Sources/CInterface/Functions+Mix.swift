public import CGyre
import Compute
import Glibc
import Hosts
import MPI
import Mixers
import Reporting
import SequenceParallel
import Sharding
import Tensors

/// What a forward pass leaves for the backward pass of the same operator.
private final class KeptMixing {
  let words: String
  let result: MixerResult

  init(_ words: String, _ result: MixerResult) { (self.words, self.result) = (words, result) }
}

/// An operator on the tensors that a caller has named, whose ranks have met.
private struct Mixing {
  let mixer: any Mixer
  let words: String
  let inputs: MixerTensors
  let line: RankLine

  func forward(keeping: Bool) throws -> MixerResult {
    try mixer.forward(inputs, keeping: keeping, on: line)
  }
}

extension Door {
  /// Has the ranks meet for a pass of an operator.
  ///
  /// - Parameters:
  ///   - manner: of the pass, the same on all ranks.
  ///   - check: says what is wrong with the caller's other arguments, given what is the same in
  ///     both passes.
  @unsafe
  fileprivate func prepare(
    _ asked: UnsafePointer<gyre_mixing>?, complaint: UnsafePointer<CChar>?, manner: String,
    isBackward: Bool, check: (_ words: String) -> String?
  ) throws -> Mixing {
    let world = joined.communicator.shared()
    var complaint = unsafe complaint.map { unsafe String(cString: $0) }
    var request: MixRequest?
    var words = ""
    if complaint == nil {
      do {
        guard let asked = unsafe asked else { throw UserError("there is no gyre_mixing.") }
        let read = try unsafe MixRequest(asked.pointee)
        words = read.words("the operator")
        complaint = check(words)
        request = read
      } catch {
        complaint = "\(error)"
      }
    }
    let met = try world.meet(
      for: words + manner, complaint: complaint,
      tokens: (request?.tokens ?? 0, request?.tokens ?? 0))
    guard let request, let asked = unsafe asked else {
      preconditionFailure("a rank without a request has a complaint")
    }
    let sharding = try sharding(of: met.queries, in: request.layout)
    let mixer = try world.together { try request.mixer(tokens: sharding.tokens) }
    let key = "\(words) \(sharding.tokens) \(isBackward)"
    if !roomForMixing.contains(key) {
      try requireRoom(for: mixer, sharding, isBackward: isBackward)
      roomForMixing.insert(key)
    }
    var inputs = MixerTensors()
    for form in mixer.inputs {
      guard let index = request.tensors.firstIndex(where: { $0.demand.name == form.name }) else {
        preconditionFailure("an operator reads a tensor that nobody has given")
      }
      let tensor = unsafe asked.pointee.tensors?[index].data
      let shape = Shape(request.tensors[index].sizes)
      inputs.add(unsafe MixerTensor(form, borrowed(tensor, shape)))
    }
    return Mixing(
      mixer: mixer, words: words, inputs: inputs, line: try line(for: sharding))
  }

  /// Who holds which tokens, if the ranks have as many as the layout gives them.
  private func sharding(of held: [Int], in layout: Layout) throws -> Sharding {
    let sharding = Sharding(layout, tokens: held.reduce(0, +), ranks: held.count)
    for (rank, count) in held.enumerated() where count != sharding.tokenCount(of: rank) {
      throw SharedFailure(
        description: "rank \(rank) has \(counted(count, "token")), and the layout \(layout) of "
          + "\(grouped(sharding.tokens)) tokens on \(counted(held.count, "rank")) gives it "
          + "\(grouped(sharding.tokenCount(of: rank))); cut sequences with "
          + "gyre.shard(x, layout=\"\(layout)\").")
    }
    return sharding
  }

  /// The ranks as operators see them; all of them make the wire between them together once.
  private func line(for sharding: Sharding) throws -> RankLine {
    let wire: MixerWire
    if let known = mixerWire {
      wire = known
    } else {
      wire = MixerWire(
        wire: try MPIWire(duplicating: joined.communicator),
        mostThreads: try joined.communicator.allReduce(team.threads, with: .max))
      mixerWire = wire
    }
    return RankLine(wire.wire, sharding: sharding, team: team, mostThreads: wire.mostThreads)
  }

  /// Refuses what the ranks of a host cannot hold together.
  private func requireRoom(
    for mixer: any Mixer, _ sharding: Sharding, isBackward: Bool
  ) throws {
    let tokens = sharding.tokenCount(of: joined.communicator.rank)
    let made = isBackward ? mixer.inputs : mixer.outputs
    try requireMemory(
      made.reduce(mixer.keptBytes(tokens: tokens)) {
        $0 + 4 * $1.shape(tokens: tokens).dimensions.reduce(1) { $0 * Double($1) }
      }, on: joined.communicator)
  }
}

/// What operators send on, and the most threads of any rank.
struct MixerWire {
  let wire: MPIWire
  let mostThreads: Int
}

/// The operators.
@safe private enum Catalog {
  nonisolated(unsafe) static let text: UnsafeMutablePointer<CChar>? = unsafe strdup(
    (try? jsonLine(MixerCatalog.all.map { MixerDescription($0) })) ?? "[]")
}

/// All operators in JSON.
@c @implementation
public func gyre_mixers() -> UnsafePointer<CChar>? { unsafe UnsafePointer(Catalog.text) }

/// The forward pass of an operator.
@c @implementation
public func gyre_mix(
  _ mixing: UnsafePointer<gyre_mixing>?, _ complaint: UnsafePointer<CChar>?,
  _ outputs: UnsafeMutablePointer<gyre_named_tensor>?, _ count: UnsafeMutablePointer<Int32>?,
  _ kept: UnsafeMutablePointer<gyre_tensor>?
) -> Int32 {
  Library.callInJob { door in
    let room = unsafe count?.pointee ?? 0
    let keeping = unsafe kept != nil
    let isComplete = unsafe outputs != nil && room > 0
    let mixing = try unsafe door.prepare(
      mixing, complaint: complaint,
      manner: " with \(keeping ? "gradients" : "no gradients") and \(room) outputs at most",
      isBackward: false
    ) { _ in isComplete ? nil : "there is no room for an output." }
    let result = try mixing.forward(keeping: keeping)
    let made = result.outputs.all
    for (index, output) in made.prefix(Int(room)).enumerated() {
      if output.tensor.form.tokenAxis == nil {
        var numbers = unsafe MutableSpan(
          _unsafeStart: output.tensor.base, count: output.tensor.count)
        try door.joined.communicator.broadcast(&numbers, from: result.owner)
      }
      unsafe outputs?[index] = gyre_named_tensor(of: output.tensor)
    }
    unsafe count?.pointee = Int32(made.count)
    unsafe kept?.pointee = gyre_tensor(
      data: nil, count: 0,
      owner: Unmanaged<AnyObject>.passRetained(KeptMixing(mixing.words, result)).toOpaque())
  }
}

/// The backward pass of an operator.
@c @implementation
public func gyre_mix_backward(
  _ mixing: UnsafePointer<gyre_mixing>?, _ complaint: UnsafePointer<CChar>?,
  _ kept: UnsafePointer<gyre_tensor>?, _ output_gradient: UnsafePointer<Float>?,
  _ gradients: UnsafeMutablePointer<gyre_tensor>?
) -> Int32 {
  Library.callInJob { door in
    let object = unsafe kept?.pointee.owner.map {
      unsafe Unmanaged<AnyObject>.fromOpaque($0).takeUnretainedValue()
    }
    let known = object as? KeptMixing
    let hasRoom = unsafe gradients != nil
    let asked = unsafe mixing
    let mixing = try unsafe door.prepare(
      asked, complaint: complaint,
      manner: " backward" + (object == nil ? ", and forward again" : ""), isBackward: true
    ) { words in
      if !hasRoom { return "there is no room for gradients." }
      return object == nil || known?.words == words
        ? nil : "what is kept is of another pass; give what gyre_mix gave for these tensors."
    }
    let world = door.joined.communicator.shared()
    let form = mixing.mixer.outputs[0].named("do")
    let shape = form.shape(tokens: mixing.line.tokens)
    let isThere = unsafe output_gradient != nil
    try world.together {
      guard isThere || shape.elementCount == 0 else {
        throw UserError("the output's gradient is NULL; give \(shape).")
      }
      guard mixing.mixer.hasGradients else { throw UserError("this has no gradients.") }
    }
    let result = try known?.result ?? mixing.forward(keeping: true)
    let found = try mixing.mixer.backward(
      mixing.inputs, result,
      gradient: unsafe MixerTensor(form, borrowed(output_gradient, shape)), on: mixing.line)
    guard let asked = unsafe asked else { return }
    for index in 0..<(unsafe Int(asked.pointee.tensor_count)) {
      guard let name = unsafe asked.pointee.tensors?[index].name else { continue }
      let gradient = found["d" + (unsafe String(cString: name))]
      if gradient.form.tokenAxis == nil, world.rank != result.gradientOwner {
        // They add up over the ranks.
        unsafe gradient.base.update(repeating: 0, count: gradient.count)
      }
      unsafe give(gradient, to: gradients?.advanced(by: index))
    }
  }
}
