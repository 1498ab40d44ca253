import Hosts
import Jobs
package import MPI
package import Models
package import Reporting

/// A decoder model that reads prompts and writes tokens, on several numbers of ranks in turn.
package struct ModelBench {
  /// How the model runs on some ranks, and what a rank then needs; called by all of them together.
  ///
  /// It has the tokens of a prompt and the most that the sequence will have.
  package typealias Preparation = (
    _ prompt: Int, _ context: Int, _ members: borrowing Communicator
  ) throws -> (options: RunOptions, memory: RunMemory)

  /// What is said of the model in every row.
  package struct Model {
    package let name: String
    package let decoder: Decoder
    package let threads: Int

    package init(name: String, decoder: Decoder, threads: Int) {
      self.name = name
      self.decoder = decoder
      self.threads = threads
    }
  }

  let model: Model
  /// Tokens of prompts that are read.
  let prompts: [Int]
  /// Tokens that are written one after the other.
  let generated: [Int]
  /// Sequences that they are written to at once.
  let samples: [Int]
  /// Tokens that are there before.
  let depths: [Int]
  let rounds: Rounds
  /// In ascending order; the first is the baseline.
  let rankCounts: [Int]

  package init(
    _ model: Model, prompts: [Int], generated: [Int], samples: [Int] = [1], depths: [Int],
    rounds: Rounds, rankCounts: [Int]
  ) {
    self.model = model
    self.prompts = prompts
    self.generated = generated
    self.samples = samples
    self.depths = depths
    self.rounds = rounds
    self.rankCounts = rankCounts
  }

  /// Measures one depth after the other, called by all ranks of the job together.
  ///
  /// - Parameters:
  ///   - cores: of the job.
  ///   - place: where somebody watches; nil on all ranks but 0.
  ///   - emit: takes the rows of a depth, on rank 0; called by all ranks.
  package func measure(
    cores: Int, progressOn place: ProgressPlace?, on world: borrowing Communicator,
    _ prepare: @escaping Preparation, emit: ([ModelBenchResult]) throws -> Void
  ) throws {
    let speed = EstimatedSpeed(cores: cores)
    let tests =
      prompts.map { ModelTest.prompt($0) }
      + generated.flatMap { tokens in samples.map { ModelTest.generation(tokens, samples: $0) } }
    let seconds = depths.map { depth in
      rankCounts.reduce(0.0) { sum, ranks in
        tests.reduce(sum) { $0 + $1.seconds(self.model, depth: depth, ranks: ranks, speed) }
      }
    }
    var comparisons = Comparisons("model", rounds, roundSeconds: seconds, on: place)
    for depth in depths where try comparisons.hasTime(on: world) {
      let setups = try rankCounts.map { ranks in
        try ModelSetup(model, depth: depth, ranks: ranks, tests: tests, on: world, prepare)
      }
      try checkMemory(setups, depth: depth, on: world)
      let contestants = tests.flatMap { test in
        setups.map {
          $0.contestant(test, weight: test.seconds(model, depth: depth, ranks: $0.ranks, speed))
        }
      }
      try comparisons.run(contestants, on: world)
      if world.rank > 0 {
        try emit([])
        continue
      }
      try emit(
        tests.enumerated().flatMap { number, test in
          setups.indices.map { place in
            let first = contestants[number * setups.count]
            return setups[place].result(
              test, contestants[number * setups.count + place], baseline: first)
          }
        })
    }
    comparisons.finish()
  }

  /// Refuses what the hosts cannot hold: the sequences of all numbers of ranks are there at once.
  private func checkMemory(
    _ setups: [ModelSetup], depth: Int, on world: borrowing Communicator
  ) throws {
    let mine = setups.reduce(0) { $0 + $1.ownBytes }
    let here =
      try world.splitByNode().allReduce(mine, with: .sum)
      + model.decoder.weightBytes - model.decoder.copiedBytes
    try world.agreed {
      try HostMemory.current.require(
        Double(here),
        for: "sequences of \(grouped(depth)) tokens on \(listed(rankCounts.map { "\($0)" })) ranks",
        remedy: "give fewer --ranks, a smaller --depth or more hosts", isOfArguments: true)
    }
  }
}

/// What is measured of a model.
enum ModelTest {
  /// So many tokens at once.
  case prompt(Int)
  /// So many, one after the other, of each of some sequences that begin alike.
  case generation(Int, samples: Int)

  var tokens: Int {
    switch self {
    case .prompt(let tokens), .generation(let tokens, _): tokens
    }
  }

  var samples: Int {
    switch self {
    case .prompt: 1
    case .generation(_, let samples): samples
    }
  }

  /// As `llama-bench` has it, and how many sequences there are.
  func name(depth: Int) -> String {
    let name =
      switch self {
      case .prompt(let tokens): "pp\(tokens)"
      case .generation(let tokens, let samples):
        samples == 1 ? "tg\(tokens)" : "tg\(tokens) x\(samples)"
      }
    return depth == 0 ? name : "\(name) @ d\(depth)"
  }

  /// Bytes a second that a core reads, by guess.
  private static let bytesPerSecond = 8e9

  /// About how long it takes.
  func seconds(
    _ model: ModelBench.Model, depth: Int, ranks: Int, _ speed: EstimatedSpeed
  ) -> Double {
    let decoder = model.decoder
    let work =
      decoder.prefillWork(tokens: depth + tokens, ranks: 1)
      - decoder.prefillWork(tokens: depth, ranks: 1)
    let computing = speed.seconds(
      flops: Double(work * samples), ranks: ranks, threads: model.threads)
    guard case .generation(let count, _) = self else { return computing }
    return max(computing, Double(count * decoder.multipliedBytes) / Self.bytesPerSecond)
  }
}
