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

    var testDescription: String {
      "\(name)\(isCausal ? " causal" : "") \(sizes["tokens"] ?? 0) tokens"
        + "\(present.isEmpty ? "" : " with \(present.sorted().joined(separator: ", "))")"
    }

    var options: MixerOptions {
      var options = MixerOptions()
      options.isCausal = isCausal
      options.softplus = softplus
      return options
    }

    func problem() throws -> MixerProblem {
      try MixerProblem(name, sizes, present: present, options: options)
    }
  }

  static let rankCounts = [1, 2, 3, 4, 5, 7, 8]

  private static func heads(_ tokens: Int, _ batch: Int, _ heads: Int, _ d: Int, _ c: Int)
    -> [String: Int]
  {
    ["batch": batch, "tokens": tokens, "heads": heads, "headDim": d, "valueHeadDim": c]
  }

  /// Odd sizes, fewer tokens than ranks, several sequences.
  static let few: [Case] = [
    Case(name: "sima", sizes: heads(6, 2, 2, 5, 3)),
    Case(name: "cosformer", sizes: heads(6, 2, 2, 5, 3)),
    Case(name: "cosformer", sizes: heads(6, 2, 2, 5, 3), isCausal: true),
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
      name: "led", sizes: ["batch": 2, "tokens": 6, "in": 5, "rank": 2, "out": 7],
      present: ["bias"]),
    Case(name: "gla", sizes: heads(6, 2, 2, 5, 3)),
    Case(name: "gla", sizes: heads(5, 1, 2, 3, 2), present: ["state"]),
    Case(name: "mamba2", sizes: heads(6, 2, 2, 5, 3), present: ["state"]),
    Case(name: "rwkv5", sizes: heads(6, 2, 2, 5, 3), present: ["state"]),
    Case(name: "rwkv6", sizes: heads(6, 2, 2, 5, 3)),
    Case(name: "rwkv6", sizes: heads(5, 1, 2, 3, 2), present: ["state"]),
  ]

  /// Longer than chunks and parts, wider than tiles.
  static let many: [Case] = [
    Case(name: "sima", sizes: heads(601, 1, 2, 20, 37)),
    Case(name: "cosformer", sizes: heads(301, 1, 2, 19, 21)),
    Case(name: "cosformer", sizes: heads(301, 1, 2, 19, 21), isCausal: true),
    Case(
      name: "rwkv4", sizes: ["batch": 2, "tokens": 203, "channels": 77, "three": 3],
      present: ["r", "state"]),
    Case(
      name: "mamba",
      sizes: ["batch": 2, "tokens": 203, "channels": 77, "state": 5, "width": 4, "before": 3],
      present: ["z", "delta_bias", "conv_weight", "conv_bias", "state", "conv_state"],
      softplus: true),
    Case(name: "linformer", sizes: heads(303, 1, 2, 19, 37).merging(["rank": 21]) { $1 }),
    Case(name: "led", sizes: ["batch": 2, "tokens": 303, "in": 65, "rank": 19, "out": 37]),
    Case(name: "gla", sizes: heads(203, 1, 2, 19, 37), present: ["state"]),
    Case(name: "mamba2", sizes: heads(203, 1, 2, 19, 37)),
    Case(name: "rwkv5", sizes: heads(203, 1, 2, 19, 37)),
    Case(name: "rwkv6", sizes: heads(203, 2, 1, 19, 37), present: ["state"]),
  ]

  @Test("outputs and gradients on any number of ranks", arguments: MixerTests.few)
  func small(_ one: Case) throws {
    let problem = try one.problem()
    let expected = problem.expected(problem.doubles)
    let gradients = problem.mixer.inputs.map { ($0.name, problem.expectedGradient(of: $0.name)) }
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

  @Test("a sequence without tokens", arguments: MixerTests.few)
  func empty(_ one: Case) throws {
    var sizes = one.sizes
    sizes["tokens"] = 0
    let problem = try MixerProblem(
      one.name, sizes, present: one.present, options: one.options)
    for ranks in [1, 3] {
      let results = try problem.run(ranks: ranks)
      #expect(results["o"] == [])
    }
  }

  @Test("layouts other than contiguous, where tokens are in no order", arguments: MixerTests.few)
  func layouts(_ one: Case) throws {
    let problem = try one.problem()
    if problem.mixer.isInOrder { return }
    let expected = problem.expected(problem.doubles)
    for layout in [.zigzag, .striped] as [Layout] {
      let results = try problem.run(ranks: 3, layout: layout)
      for (name, numbers) in expected {
        #expect(difference(results[name], numbers) <= 1e-5, "\(name) \(layout)")
      }
    }
  }
}
