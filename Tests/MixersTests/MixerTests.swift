import MPI
import Mixers
import Sharding
import Synchronization
import Testing

/// Operators on ranks that are threads of this process, held to oracles in double precision.
@Suite("Mixers against their oracles")
struct MixerTests {
  /// A problem small enough for central differences.
  struct Case: Sendable, CustomTestStringConvertible {
    let name: String
    let sizes: [String: Int]
    var present: Set<String> = []
    var isCausal = false
    var softplus = false
    /// Dimensions of tensors that may have more than one number of them.
    var ranks: [String: Int] = [:]
    var change: @Sendable (inout MixerOptions) -> Void = { _ in }

    var testDescription: String {
      "\(name)\(isCausal ? " causal" : "") \(sizes["tokens"] ?? 0) tokens"
        + "\(present.isEmpty ? "" : " with \(present.sorted().joined(separator: ", "))")"
    }

    var options: MixerOptions {
      var options = MixerOptions()
      options.isCausal = isCausal
      options.softplus = softplus
      change(&options)
      return options
    }

    func problem() throws -> MixerProblem {
      try MixerProblem(name, sizes, present: present, options: options, ranks: ranks)
    }
  }

  static let rankCounts = [1, 2, 3, 4, 5, 7, 8]

  private static func heads(
    _ tokens: Int, _ batch: Int, _ heads: Int, _ d: Int, _ c: Int, kv kvHeads: Int? = nil
  ) -> [String: Int] {
    [
      "batch": batch, "tokens": tokens, "heads": heads, "headDim": d, "valueHeadDim": c,
      "kvHeads": kvHeads ?? heads, "groups": kvHeads ?? heads,
    ]
  }

  /// Odd sizes, fewer tokens than ranks, several sequences.
  static let few: [Case] = [
    Case(name: "sima", sizes: heads(6, 2, 2, 5, 3)),
    Case(name: "sima", sizes: heads(6, 2, 6, 5, 3, kv: 2)),
    Case(name: "cosformer", sizes: heads(6, 2, 2, 5, 3)),
    Case(name: "cosformer", sizes: heads(6, 2, 4, 5, 3, kv: 2)),
    Case(name: "cosformer", sizes: heads(6, 2, 2, 5, 3), isCausal: true),
    Case(name: "cosformer", sizes: heads(6, 2, 4, 5, 3, kv: 2), isCausal: true),
    Case(name: "rwkv4", sizes: ["batch": 2, "tokens": 6, "channels": 11]),
    Case(
      name: "rwkv4", sizes: ["batch": 2, "tokens": 5, "channels": 5, "three": 3],
      present: ["r", "state"]),
    Case(name: "mamba", sizes: ["batch": 2, "tokens": 6, "channels": 3, "state": 3]),
    Case(
      name: "mamba",
      sizes: ["batch": 2, "tokens": 6, "channels": 3, "state": 2, "width": 4, "before": 3],
      present: ["z", "delta_bias", "conv_weight", "conv_bias", "state", "conv_state"]),
    Case(
      name: "mamba", sizes: ["batch": 1, "tokens": 5, "channels": 2, "state": 3, "width": 3],
      present: ["z", "delta_bias", "conv_weight"], softplus: true),
    Case(name: "linformer", sizes: heads(6, 2, 2, 5, 3).merging(["rank": 4]) { $1 }),
    Case(
      name: "linformer", sizes: heads(6, 2, 4, 5, 3, kv: 2).merging(["rank": 4]) { $1 },
      ranks: ["e": 3]),
    Case(
      name: "linformer", sizes: heads(5, 1, 2, 3, 2).merging(["rank": 3]) { $1 },
      ranks: ["e": 3, "f": 3]),
    Case(
      name: "led", sizes: ["batch": 2, "tokens": 6, "in": 5, "rank": 2, "out": 7],
      present: ["bias"]),
    Case(name: "gla", sizes: heads(6, 2, 2, 5, 3)),
    Case(name: "gla", sizes: heads(5, 1, 4, 3, 2, kv: 2), present: ["state"]),
    Case(
      name: "mamba2", sizes: heads(6, 2, 4, 5, 3, kv: 2), present: ["state"],
      change: { $0.chunk = 4 }),
    Case(name: "rwkv5", sizes: heads(6, 2, 2, 5, 3), present: ["state"]),
    Case(name: "rwkv6", sizes: heads(6, 2, 2, 5, 3)),
    Case(name: "rwkv6", sizes: heads(5, 1, 2, 3, 2), present: ["state"]),
    Case(name: "relu", sizes: heads(6, 2, 4, 5, 3, kv: 2)),
    Case(
      name: "relu", sizes: heads(6, 2, 2, 5, 3), present: ["gamma"], isCausal: true,
      change: { $0.normalization = .visible }),
    Case(name: "deltanet", sizes: heads(6, 2, 2, 5, 3), change: { $0.chunk = 2 }),
    Case(name: "deltanet", sizes: heads(7, 1, 2, 3, 4), present: ["state"]),
    Case(
      name: "led", sizes: ["batch": 2, "tokens": 6, "in": 5, "out": 7], present: ["bias"],
      change: { $0.factorize = 3 }),
    Case(
      name: "led", sizes: ["batch": 1, "tokens": 6, "in": 6, "out": 4],
      change: { $0.factorize = 4 }),
    Case(name: "infonce", sizes: ["sequences": 2, "tokens": 6, "dim": 5, "steps": 3]),
    Case(
      name: "infonce", sizes: ["sequences": 1, "tokens": 5, "dim": 3, "steps": 2],
      change: { ($0.temperature, $0.steps) = (0.5, 1) }),
    Case(name: "soft", sizes: heads(7, 2, 2, 5, 3), change: { $0.landmarks = 3 }),
    Case(
      name: "soft", sizes: heads(6, 1, 2, 3, 4),
      change: { ($0.landmarks, $0.newtonSteps, $0.isNormalized) = (4, 7, true) }),
    Case(name: "aft", sizes: ["batch": 2, "tokens": 6, "channels": 11], present: ["q"]),
    Case(name: "aft", sizes: ["batch": 2, "tokens": 6, "channels": 3], isCausal: true),
    Case(
      name: "aft", sizes: ["batch": 2, "tokens": 6, "channels": 11], present: ["q"],
      change: { $0.variant = .simple }),
    Case(
      name: "aft", sizes: ["batch": 2, "tokens": 6, "channels": 11], isCausal: true,
      change: { $0.variant = .simple }),
    Case(
      name: "aft", sizes: ["batch": 2, "tokens": 7, "channels": 5], present: ["q"],
      change: { $0.variant = .local(3) }),
    Case(
      name: "aft", sizes: ["batch": 1, "tokens": 7, "channels": 5, "keys": 7], isCausal: true,
      change: { $0.variant = .local(2) }),
    Case(
      name: "aft", sizes: ["batch": 1, "tokens": 4, "channels": 2], isCausal: true,
      change: { $0.variant = .local(9) }),
    Case(
      name: "aft", sizes: ["batch": 2, "tokens": 6, "channels": 6, "heads": 3],
      change: { $0.variant = .conv(4) }),
    Case(
      name: "aft", sizes: ["batch": 2, "tokens": 7, "channels": 6, "heads": 2], present: ["q"],
      isCausal: true, change: { $0.variant = .conv(3) }),
  ]

  /// Longer than chunks and parts, wider than tiles.
  static let many: [Case] = [
    Case(name: "sima", sizes: heads(601, 1, 4, 20, 37, kv: 2)),
    // On two ranks more tokens than a thread takes at a time.
    Case(name: "sima", sizes: heads(9001, 1, 2, 3, 5)),
    Case(name: "cosformer", sizes: heads(301, 1, 4, 19, 21, kv: 2)),
    Case(name: "cosformer", sizes: heads(301, 1, 2, 19, 21), isCausal: true),
    Case(
      name: "rwkv4", sizes: ["batch": 2, "tokens": 203, "channels": 77, "three": 3],
      present: ["r", "state"]),
    Case(
      name: "mamba",
      sizes: ["batch": 2, "tokens": 203, "channels": 77, "state": 5, "width": 4, "before": 3],
      present: ["z", "delta_bias", "conv_weight", "conv_bias", "state", "conv_state"],
      softplus: true),
    Case(
      name: "linformer", sizes: heads(303, 1, 4, 19, 37, kv: 2).merging(["rank": 21]) { $1 },
      ranks: ["f": 3]),
    Case(name: "led", sizes: ["batch": 2, "tokens": 303, "in": 65, "rank": 19, "out": 37]),
    Case(name: "gla", sizes: heads(203, 1, 2, 19, 37), present: ["state"]),
    Case(name: "mamba2", sizes: heads(203, 1, 2, 19, 37)),
    Case(name: "rwkv5", sizes: heads(203, 1, 2, 19, 37)),
    Case(name: "rwkv6", sizes: heads(203, 2, 1, 19, 37), present: ["state"]),
    Case(
      name: "relu", sizes: heads(301, 1, 4, 19, 37, kv: 2), present: ["gamma"], isCausal: true,
      change: { $0.normalization = .visible }),
    Case(name: "deltanet", sizes: heads(203, 1, 2, 19, 37), present: ["state"]),
    Case(
      name: "led", sizes: ["batch": 1, "tokens": 30, "in": 65, "out": 37],
      change: { $0.factorize = 19 }),
    Case(name: "infonce", sizes: ["sequences": 2, "tokens": 203, "dim": 19, "steps": 3]),
    Case(name: "soft", sizes: heads(303, 1, 2, 19, 37), change: { $0.landmarks = 21 }),
    Case(
      name: "aft", sizes: ["batch": 1, "tokens": 203, "channels": 77], present: ["q"],
      isCausal: true),
    Case(
      name: "aft", sizes: ["batch": 2, "tokens": 301, "channels": 78, "heads": 13],
      change: { $0.variant = .conv(60) }),
    Case(
      name: "aft", sizes: ["batch": 2, "tokens": 301, "channels": 77],
      change: { $0.variant = .local(90) }),
    Case(
      name: "aft", sizes: ["batch": 2, "tokens": 601, "channels": 77],
      change: { $0.variant = .simple }),
  ]

  @Test("outputs and gradients on any number of ranks", arguments: MixerTests.few)
  func small(_ one: Case) throws {
    let problem = try one.problem()
    let expected = problem.expected(problem.doubles)
    let inputs = problem.mixer.hasGradients ? problem.mixer.inputs : []
    let gradients = inputs.map { ($0.name, problem.expectedGradient(of: $0.name)) }
    for ranks in Self.rankCounts {
      let results = try problem.run(ranks: ranks, threads: ranks == 3 ? 2 : 1)
      for (name, numbers) in expected {
        let error = difference(results[name], numbers)
        #expect(error <= 1e-5, "\(name) on \(ranks) ranks")
      }
      for (name, numbers) in gradients {
        let error = difference(results["d\(name)"], numbers)
        #expect(error <= 1e-4, "d\(name) on \(ranks) ranks")
      }
    }
  }

  @Test("many tokens on one rank and on others", arguments: MixerTests.many)
  func large(_ one: Case) throws {
    let problem = try one.problem()
    let expected = problem.expected(problem.doubles)
    let reference = try problem.run(ranks: 1)
    for (name, numbers) in expected {
      #expect(difference(reference[name], numbers) <= 1e-5, "\(name)")
    }
    for ranks in [2, 5] {
      let results = try problem.run(ranks: ranks, threads: 2)
      for (name, numbers) in reference {
        let error = difference(results[name], numbers.map(Double.init))
        #expect(error <= 2e-6, "\(name) on \(ranks) ranks")
      }
    }
  }

  @Test("exponents of any size, and weights of −∞", arguments: [false, true])
  func extremes(isCausal: Bool) throws {
    for variant in [AFTVariant.full, .simple, .local(4), .conv(3)] {
      var options = MixerOptions()
      (options.variant, options.isCausal) = (variant, isCausal)
      let sizes = ["batch": 1, "tokens": 40, "channels": 3, "heads": 3]
      let problem = try MixerProblem("aft", sizes, options: options) { inputs in
        // Of one channel all are so small that exponentials of them are 0 in single precision.
        inputs["k"] = inputs["k"]?.enumerated().map { 80 * $1 - ($0 % 3 == 1 ? 400 : 0) }
        inputs["w"] = inputs["w"]?.enumerated().map { $0 % 7 == 3 ? -.infinity : 400 * $1 }
      }
      let expected = problem.expected(problem.doubles)["o"] ?? []
      for ranks in [1, 3] {
        let results = try problem.run(ranks: ranks)
        #expect(difference(results["o"], expected) <= 1e-4, "\(variant) on \(ranks) ranks")
        #expect(results.values.allSatisfy { $0.allSatisfy(\.isFinite) })
      }
    }
  }

  /// What is sent ahead of a pass ends where nothing is left of a state, for some of its numbers.
  @Test("decays to nothing within a shard", arguments: ["gla", "rwkv5", "mamba2", "mamba"])
  func vanishing(_ name: String) throws {
    let problem = try MixerProblem(
      name,
      Self.heads(301, 1, 2, 19, 5).merging(["channels": 21, "state": 5]) { $1 }
    ) { inputs in
      // Of eight channels of mamba nothing is left, while something is of the others.
      for name in ["g", "w", "a"] {
        inputs[name] = inputs[name]?.enumerated().map { index, number in
          index % 5 == 2 && (name != "a" || index / 40 != 1) ? number / 50 : 30 * number
        }
      }
    }
    let reference = try problem.run(ranks: 1)
    for (name, numbers) in problem.expected(problem.doubles) {
      #expect(difference(reference[name], numbers) <= 1e-5, "\(name)")
    }
    for ranks in [2, 3] {
      let results = try problem.run(ranks: ranks)
      for (name, numbers) in reference {
        let error = difference(results[name], numbers.map(Double.init))
        #expect(error <= 2e-6, "\(name) on \(ranks) ranks")
      }
    }
  }

  /// Exponents are multiples of 1/64, so that sums of them are exact, and so small that numbers
  /// without them would be 0.
  @Test("states that outweigh what a rank's tokens make of nothing")
  func outweighing() throws {
    let sizes = ["batch": 1, "tokens": 301, "channels": 23]
    let problem = try MixerProblem("rwkv4", sizes) { inputs in
      inputs["w"] = inputs["w"]?.map { _ in -1 / 64 }
      inputs["u"] = inputs["u"]?.map { _ in 0.25 }
      inputs["k"] = inputs["k"]?.enumerated().map {
        (8 * $1).rounded() / 8 - Float($0 / 23) / 16 - 128
      }
    }
    let expected = problem.expected(problem.doubles)["o"] ?? []
    for ranks in [1, 2, 3] {
      let results = try problem.run(ranks: ranks, gradients: false)
      #expect(difference(results["o"], expected) <= 5e-6, "\(ranks) ranks")
    }
  }

  @Test("scores of some thousands, whose last digits are factors of weights")
  func largeScores() throws {
    let sizes = Self.heads(301, 1, 2, 19, 5).merging(["rank": 21]) { $1 }
    let problem = try MixerProblem("linformer", sizes) { inputs in
      inputs["k"] = inputs["k"]?.map { 700 * $0 }
    }
    let expected = problem.expected(problem.doubles)
    for ranks in [1, 3] {
      let results = try problem.run(ranks: ranks, gradients: false)
      for (name, numbers) in expected {
        #expect(difference(results[name], numbers) <= 2e-6, "\(name) on \(ranks) ranks")
      }
    }
  }

  @Test("a sequence without tokens", arguments: MixerTests.few)
  func empty(_ one: Case) throws {
    var sizes = one.sizes
    sizes["tokens"] = 0
    sizes["keys"] = nil
    let problem = try MixerProblem(
      one.name, sizes, present: one.present, options: one.options)
    for ranks in [1, 3] {
      let results = try problem.run(ranks: ranks)
      let name = problem.mixer.outputs[0].name
      #expect(results[name] == (problem.expected(problem.doubles)[name] ?? []).map { Float($0) })
    }
  }

  @Test("layouts other than contiguous, where tokens are in no order", arguments: MixerTests.few)
  func layouts(_ one: Case) throws {
    let problem = try one.problem()
    if problem.mixer.isInOrder { return }
    let expected = try problem.run(ranks: 1)
    for layout in [.zigzag, .striped] as [Layout] {
      let results = try problem.run(ranks: 3, layout: layout)
      for (name, numbers) in expected {
        let error = difference(results[name], numbers.map(Double.init))
        #expect(error <= 1e-5, "\(name) \(layout)")
      }
    }
  }
}
