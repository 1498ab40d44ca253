import Compute
import MPI
import Mixers
import Sharding

/// Every operator on random numbers, forward and backward, compared with the oracle on all ranks;
/// states are larger than what MPI sends at once.
func checkMixers(_ world: borrowing Communicator) throws {
  for type in MixerCatalog.all {
    var options = MixerOptions()
    if type.options.contains(.landmarks) { options.landmarks = 21 }
    let variants: [AFTVariant] =
      type.options.contains(.variant) ? [.full, .simple, .local(50), .conv(9)] : [.full]
    for variant in variants {
      for causal in type.options.contains(.causal) ? [false, true] : [false] {
        (options.variant, options.isCausal) = (variant, causal)
        try checkMixer(type, options, world)
      }
    }
  }
}

private func checkMixer(
  _ type: any Mixer.Type, _ options: MixerOptions, _ world: borrowing Communicator
) throws {
  let demands = type.demands(for: options)
  // Sizes that no tile and no number of ranks divides.
  var usual = [
    "batch": 1, "tokens": 299, "heads": 3, "headDim": 97, "valueHeadDim": 97, "channels": 1111,
    "state": 17, "width": 4, "rank": 33, "in": 71, "out": 41, "kvHeads": 2,
    "groups": 2, "sequences": 2, "dim": 97, "steps": 2,
  ]
  let dimensions = Set(demands.flatMap(\.dimensions))
  let sharesHeads = !dimensions.isDisjoint(with: ["kvHeads", "groups"])
  if sharesHeads { usual["heads"] = 4 }
  // As many units as let five ranks of one thread go in one pass, and none of more ranks.
  if world.size == 5, !dimensions.contains("channels") { usual["heads"] = 4 }
  // Their oracles take longest.
  let isSlow = !type.options.isDisjoint(with: [.steps, .landmarks])
  if isSlow || sharesHeads && !type.options.contains(.chunk) {
    usual["tokens"] = 131
  }
  if dimensions.contains("channels") { usual["heads"] = 1111 }
  var sizes = MixerSizes()
  for demand in demands {
    for name in demand.dimensions { if let size = usual[name] { sizes.complete(name, size) } }
  }
  let mixer = try type.init(sizes, present: type.randomTensors, options: options)
  let sources = mixer.inputs.enumerated().map { index, form in
    MixerSource(
      form, seed: 3, tensor: UInt64(index),
      filling: demands.first { $0.name == form.name }?.filling ?? .normal)
  }
  let gradient = MixerSource(
    mixer.outputs[0].named("do"), seed: 3, tensor: 100, filling: .normal)
  let team = ThreadTeam(threads: world.rank % 2 == 0 ? 1 : mostThreads(world))
  let line = try RankLine(
    on: world, sharding: Sharding(.contiguous, tokens: mixer.tokens, ranks: world.size),
    team: team)
  var inputs = MixerTensors()
  for source in sources { inputs.add(try source.read(line.runs, team: team)) }
  var before = line.traffic
  let result = try mixer.forward(inputs, keeping: true, on: line)
  try checkTraffic(mixer, backward: false, line.traffic - before, line, world)
  before = line.traffic
  let gradients = try mixer.backward(
    inputs, result, gradient: try gradient.read(line.runs, team: team), on: line)
  try checkTraffic(mixer, backward: true, line.traffic - before, line, world)
  let finding = try MixerCheck(of: mixer, sources, gradient: gradient, seed: 3)
    .run(result, gradients, on: line) { try $0() }
  // A rank without tokens has nothing to compare, nor have others of a loss that one rank has.
  let hasNumbers = line.tokens > 0 && mixer.outputs[0].tokenAxis != nil
  try require(
    finding.holds && (finding.numbers > 0 || !hasNumbers), "\(type.name) \(options): \(finding)")
}

/// Threads of ranks differ, 1 on those of even number, but on five ranks.
private func mostThreads(_ world: borrowing Communicator) -> Int {
  world.size == 1 || world.size == 5 ? 1 : 2
}

/// Bytes and messages are those that predictions reckon with.
private func checkTraffic(
  _ mixer: any Mixer, backward: Bool, _ traffic: Traffic, _ line: RankLine,
  _ world: borrowing Communicator
) throws {
  let threads = mostThreads(world)
  let exchanges = mixer.exchanges(backward: backward, ranks: world.size, threads: threads)
  var (bytes, messages) = (0, 0)
  for exchange in exchanges {
    let sent = exchange.sent(
      by: world.rank, of: line.sharding, isReverse: backward, threads: threads)
    bytes += sent.bytes
    messages += sent.messages
  }
  try require(
    traffic.bytesSent == bytes && traffic.messagesSent == messages,
    "\(type(of: mixer).name)\(backward ? " backward" : ""): \(traffic.bytesSent) bytes in "
      + "\(traffic.messagesSent) messages, not \(bytes) in \(messages)")
}
