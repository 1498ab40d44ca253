import Attention
import MPI
import Models
import Reporting
import Results
import SequenceParallel

/// A model on the first ranks of a job, at one depth.
final class ModelSetup {
  let ranks: Int
  /// What the sequences of this rank take.
  let ownBytes: Int
  private let model: ModelBench.Model
  private let depth: Int
  private let group: RankGroup
  private let hosts: Int
  private let prepare: ModelBench.Preparation
  /// Nil on ranks that take no part.
  private let options: RunOptions?
  /// The sequence that tests go on with; made by the first that does, of the most tokens that any
  /// does.
  private var generation: Generation?
  private let context: Int

  /// Checks that there is memory, called by all ranks of the job together.
  init(
    _ model: ModelBench.Model, depth: Int, ranks: Int, tests: [ModelTest],
    on world: borrowing Communicator, _ prepare: @escaping ModelBench.Preparation
  ) throws {
    let group = try RankGroup(Array(0..<ranks), of: world)
    let context = max(1, depth) + (tests.map(\.tokens).max() ?? 0)
    let known = try group.agreedOnMembers(on: world) { members in
      // A prompt of all tokens takes more than one that is gone on with.
      let whole = try prepare(depth == 0 ? context : depth, context, members)
      return (whole, try Topology(of: members).nodes.count)
    }
    (self.model, self.depth, self.ranks, self.group) = (model, depth, ranks, group)
    (self.prepare, self.context) = (prepare, context)
    options = known?.0.options
    ownBytes = known?.0.memory.ownBytes ?? 0
    hosts = known?.1 ?? 0
  }

  /// A test, as it is measured in turn.
  ///
  /// What it goes on with is made in the round that does not count.
  func contestant(_ test: ModelTest, weight: Double) -> Contestant {
    Contestant(group, weight: weight) { [self] members in
      var figures = RankFigures()
      figures.seconds =
        switch test {
        case .prompt(let tokens): try read(tokens, on: members)
        case .generation(let tokens, let samples): try write(tokens, samples, on: members)
        }
      return figures
    }
  }

  /// Reads a prompt.
  ///
  /// - Returns: the seconds that it took.
  private func read(_ count: Int, on members: borrowing Communicator) throws -> Double {
    guard depth > 0 else {
      let options = try prepare(count, count, members).options
      let prompt = tokens(0..<count)
      return try seconds(on: members) {
        _ = try Generation(
          model.decoder, prompt: prompt, context: count, options: options, on: members)
      }
    }
    let generation = try rewound(on: members)
    let next = tokens(depth..<depth + count)
    return try seconds(on: members) { try generation.extend(by: next, on: members) }
  }

  /// Adds tokens one by one to as many sequences, each with the logits of what comes after it.
  private func write(
    _ count: Int, _ samples: Int, on members: borrowing Communicator
  ) throws -> Double {
    let generation = try rewound(on: members)
    let all = samples == 1 ? [generation] : (0..<samples).map { _ in generation.fork() }
    defer { if samples > 1 { for fork in all { fork.release() } } }
    let first = generation.tokens.count
    return try seconds(on: members) {
      for position in first..<first + count {
        try Generation.extend(all, by: tokens(position * samples..<(position + 1) * samples))
      }
    }
  }

  /// The sequence of the depth; without any, of the one token that a text begins with.
  private func rewound(on members: borrowing Communicator) throws -> Generation {
    let length = max(1, depth)
    if let generation {
      generation.rewind(to: length)
      return generation
    }
    let options = try prepare(length, context, members).options
    let made = try Generation(
      model.decoder, prompt: tokens(0..<length), context: context, options: options, on: members)
    generation = made
    return made
  }

  private func seconds(on members: borrowing Communicator, _ body: () throws -> Void) throws
    -> Double
  {
    try members.barrier()
    let start = ContinuousClock.now
    try body()
    return (ContinuousClock.now - start).inSeconds
  }

  /// What stands at some positions: any tokens, the same on all ranks.
  private func tokens(_ positions: Range<Int>) -> [Int] {
    let vocabulary = UInt64(model.decoder.sizes.vocabulary)
    return positions.map { position in
      let mixed = (UInt64(position) &+ 1) &* 0x9E37_79B9_7F4A_7C15
      return Int((mixed ^ mixed >> 29) % vocabulary)
    }
  }

  /// The row of a test, on rank 0.
  func result(
    _ test: ModelTest, _ measured: Contestant, baseline: Contestant
  ) -> ModelBenchResult {
    let times = measured.seconds
    guard let options else { preconditionFailure("rank 0 takes part") }
    let isPrompt = if case .prompt = test { true } else { false }
    return ModelBenchResult(
      model: model.name, architecture: model.decoder.architecture,
      parameters: model.decoder.parameters, weightBytes: model.decoder.weightBytes,
      test: test.name(depth: depth), promptTokens: isPrompt ? test.tokens : 0,
      generatedTokens: isPrompt ? 0 : test.tokens, samples: test.samples, depth: depth,
      ranks: ranks, hosts: hosts,
      threads: model.threads, chunk: options.chunk, cacheType: options.cacheType.rawValue,
      arithmetic: options.arithmetic.rawValue,
      weightProducts: options.productArithmetic.rawValue,
      weights: ranks > 1 && options.dividesWeights ? "divided" : "replicated",
      transport: "\(options.route)", repeats: measured.rounds.count, seconds: times.median,
      secondsLow: times.interval.lowerBound, secondsHigh: times.interval.upperBound,
      spread: times.spread, tokensPerSecond: Double(test.tokens * test.samples) / times.median,
      speedup: baseline.seconds.medianRatio(to: times))
  }
}
