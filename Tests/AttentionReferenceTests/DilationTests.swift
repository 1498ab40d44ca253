import AttentionReference
import Glibc
import Testing

/// The closed form of dilated attention, and its gradients, against branches that are computed one
/// by one and merged by their softmax denominators.
@Suite("The oracle of dilated attention")
struct DilationTests {
  private let tokens = 9
  private let heads = 4
  private let dilation = ReferenceDilation(
    branches: [(4, 1), (6, 2), (9, 3)], isCausal: true
  ) { head, rate in head % rate }

  private var oracle: ReferenceAttention {
    var oracle = ReferenceAttention(
      tokens: tokens, keyTokens: tokens, headDim: 3, valueHeadDim: 2, scale: 0.6)
    oracle.queryHeads = heads
    oracle.kvHeads = 2
    return oracle
  }

  /// Queries, keys and values.
  private let inputs = [(9 * 4 * 3, 0.37), (9 * 2 * 3, 0.53), (9 * 2 * 2, 0.71)].map { count, a in
    (0..<count).map { 1.5 * sin(a * Double($0) + a) }
  }
  private let outputGradient = (0..<9 * 4 * 2).map { cos(0.29 * Double($0)) }

  private func branch(_ index: Int, _ inputs: [[Double]]) -> (o: [Double], lse: [Double]) {
    oracle(q: inputs[0], k: inputs[1], v: inputs[2]) { i, j, h in
      dilation.sees(i, j, head: h, branch: index) ? 0 : -.infinity
    }
  }

  /// For each branch, for each row `[heads, tokens]`, its weight.
  private func weights(_ inputs: [[Double]]) -> [[Double]] {
    let branches = dilation.branches.indices.map { branch($0, inputs).lse }
    return branches.map { lse in
      lse.indices.map { row in
        let sum = branches.reduce(0) { $0 + exp($1[row]) }
        return sum == 0 ? 0 : exp(lse[row]) / sum
      }
    }
  }

  /// The branches' outputs times their weights.
  private func merged(_ inputs: [[Double]], weights: [[Double]]) -> [Double] {
    var o = [Double](repeating: 0, count: outputGradient.count)
    for index in dilation.branches.indices {
      let branch = branch(index, inputs).o
      for element in o.indices {
        let (token, head) = (element / 2 / heads, element / 2 % heads)
        o[element] += weights[index][head * tokens + token] * branch[element]
      }
    }
    return o
  }

  private func expectGradients(
    _ gradients: (dq: [Double], dk: [Double], dv: [Double]),
    of function: ([[Double]]) -> [Double]
  ) {
    func loss(_ inputs: [[Double]]) -> Double {
      zip(function(inputs), outputGradient).reduce(0) { $0 + $1.0 * $1.1 }
    }
    for (which, gradient) in [gradients.dq, gradients.dk, gradients.dv].enumerated() {
      for index in gradient.indices {
        var (above, below) = (inputs, inputs)
        above[which][index] += 1e-5
        below[which][index] -= 1e-5
        let difference = (loss(above) - loss(below)) / 2e-5
        #expect(abs(difference - gradient[index]) < 1e-8)
      }
    }
  }

  @Test func theClosedFormIsTheMergeOfBranches() {
    let closed = oracle(q: inputs[0], k: inputs[1], v: inputs[2]) {
      dilation.bias($0, $1, head: $2)
    }
    for (a, b) in zip(closed.o, merged(inputs, weights: weights(inputs))) {
      #expect(abs(a - b) < 1e-12)
    }
  }

  @Test func exactGradientsAreThoseOfCentralDifferences() {
    expectGradients(
      oracle.gradients(
        q: inputs[0], k: inputs[1], v: inputs[2], outputGradient: outputGradient
      ) { dilation.bias($0, $1, head: $2) }
    ) { merged($0, weights: weights($0)) }
  }

  @Test func detachedGradientsAreThoseOfConstantWeights() {
    let constant = weights(inputs)
    expectGradients(
      oracle.detachedGradients(
        q: inputs[0], k: inputs[1], v: inputs[2], outputGradient: outputGradient,
        dilation: dilation)
    ) { merged($0, weights: constant) }
  }
}
