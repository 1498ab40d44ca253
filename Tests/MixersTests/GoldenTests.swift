import Glibc
import Mixers
import Tensors
import Testing

/// Values computed once in double precision, apart from this package.
@Suite("Golden values of mixers")
struct GoldenTests {
  /// `sin(a · index + b)`.
  private func wave(_ count: Int, _ a: Double, _ b: Double) -> [Float] {
    (0..<count).map { Float(sin(a * Double($0) + b)) }
  }

  /// q, k, v and do of one head of four columns.
  private func attention(_ form: Mixers.TensorForm) -> [Float] {
    let factors: [String: (Double, Double)] = [
      "q": (0.37, 0.1), "k": (0.53, 0.2), "v": (0.71, 0.3), "do": (0.29, 0.4),
    ]
    let (a, b) = factors[form.name] ?? (0, 0)
    return wave(form.shape.elementCount, a, b)
  }

  private let sizes = [
    "batch": 1, "tokens": 8, "heads": 1, "kvHeads": 1, "headDim": 4, "valueHeadDim": 4,
  ]

  /// One row of an output on some numbers of ranks, and by the oracle.
  private func rows(_ problem: MixerProblem, _ row: Int, width: Int) throws -> [[Double]] {
    let part = row * width..<(row + 1) * width
    let oracle = problem.expected(problem.doubles)["o"] ?? []
    return [Array(oracle[part])]
      + (try [1, 3].map { ranks in
        let o = try problem.run(ranks: ranks, gradients: false)["o"] ?? []
        return o[part].map(Double.init)
      })
  }

  private func check(
    _ problem: MixerProblem, _ row: Int, _ expected: [Double], by tolerance: Double = 2e-6
  ) throws {
    for actual in try rows(problem, row, width: expected.count) {
      #expect(zip(actual, expected).allSatisfy { abs($0 - $1) <= tolerance }, "\(actual)")
    }
  }

  @Test func sima() throws {
    try check(
      MixerProblem("sima", sizes, attention), 0,
      [-0.04718091, -0.05004694, -0.02872646, 0.00647683])
  }

  @Test func relu() throws {
    try check(
      MixerProblem("relu", sizes, attention), 0,
      [-0.01819392, 0.00068845, 0.01923810, 0.02849044])
  }

  @Test func cosformer() throws {
    try check(
      MixerProblem("cosformer", sizes, attention), 0,
      [0.14493463, 0.16998228, 0.11288154, 0.00122783])
    var options = MixerOptions()
    options.isCausal = true
    let causal = try MixerProblem("cosformer", sizes, options: options, attention)
    try check(causal, 4, [0.43565939, 0.27717322, -0.01526419, -0.30032477])
    try check(causal, 7, [0, 0, 0, 0])
  }

  @Test func rwkv4() throws {
    let problem = try MixerProblem("rwkv4", ["batch": 1, "tokens": 8, "channels": 4]) { form in
      switch form.name {
      case "w": [-0.5, -1, -0.1, -2]
      case "u": [0.3, 0, -0.3, 0.1]
      default: attention(form)
      }
    }
    try check(problem, 7, [0.15343577, -0.13456657, -0.00566205, 0.38887764])
  }

  @Test func aft() throws {
    let sizes = ["batch": 1, "tokens": 6, "channels": 2]
    let problem = try MixerProblem("aft", sizes) { form in
      form.name == "w" ? wave(36, 0.19, 0.6) : attention(form)
    }
    try check(problem, 5, [0.27356411, 0.35920525])
  }

  @Test func soft() throws {
    var options = MixerOptions()
    options.landmarks = 4
    try check(
      MixerProblem("soft", sizes, options: options, attention), 0,
      [0.02080729, 0.39029860, 0.57116787, 0.47600527], by: 1e-5)
  }

  /// The reference pairs contexts and tokens of the same number: here tokens are one step ahead,
  /// and the first, which it does not have, is out of reach.
  @Test func infonce() throws {
    var options = MixerOptions()
    options.temperature = 0.1
    let sizes = ["sequences": 1, "tokens": 5, "dim": 4, "steps": 1]
    func unit(_ a: Double, _ b: Double) -> [[Float]] {
      (0..<4).map { row in
        let numbers = (0..<3).map { sin(a * Double(3 * row + $0) + b) }
        let norm = numbers.reduce(0) { $0 + $1 * $1 }.squareRoot()
        return numbers.map { Float($0 / norm) }
      }
    }
    let problem = try MixerProblem("infonce", sizes, options: options) { form in
      switch form.name {
      case "c": unit(0.37, 0.1).flatMap { $0 + [1] } + [0, 0, 0, 0]
      case "z": [0, 0, 0, -100] + unit(0.53, 0.2).flatMap { $0 + [0] }
      case "W": (0..<16).map { $0 % 5 == 0 ? 1 : 0 }
      default: [1]
      }
    }
    for ranks in [1, 3] {
      let loss = try problem.run(ranks: ranks, gradients: false)["loss"] ?? []
      #expect(difference(loss, [4.72194557]) <= 1e-6)
    }
  }

  @Test func mamba() throws {
    let problem = try MixerProblem(
      "mamba", ["batch": 1, "tokens": 6, "channels": 2, "state": 2]
    ) { form in
      let count = form.shape.elementCount
      return switch form.name {
      case "delta": wave(count, 0.31, 0.7).map { Float(log1p(exp(Double($0)))) }
      case "a": [-1, -2, -1, -2]
      case "b": wave(count, 0.41, 0.2)
      case "c": wave(count, 0.23, 0.9)
      case "d": [1, 1]
      default: wave(count, 0.61, 0.5)
      }
    }
    try check(problem, 5, [0.31178300, 0.89740100])
  }
}
