import Attention
import AttentionReference
import Foundation
import MPI
import SequenceParallel

/// What the oracle says of a whole sequence.
struct Expected {
  let o: [Double]
  let lse: [Double]
  let dq: [Double]
  let dk: [Double]
  let dv: [Double]
  /// Of learned sinks; empty if there are none.
  var dsinks: [Double] = []

  /// The largest magnitude of a log-sum-exp, which is about that of the scores.
  var largestScore: Double { lse.reduce(0) { $1.isFinite ? max($0, abs($1)) : $0 } }
}

extension Problem {
  /// The oracle of the queries at some positions.
  private func oracle(queries positions: [Int]) -> ReferenceAttention {
    var oracle = ReferenceAttention(
      tokens: positions.count, keyTokens: keyTokens, headDim: shape.headDim,
      valueHeadDim: shape.valueHeadDim, scale: scale)
    oracle.batch = shape.batch
    oracle.queryHeads = shape.queryHeads
    oracle.kvHeads = shape.kvHeads
    oracle.sinks = sinks?.map(Double.init)
    oracle.scoreRule = referenceRule.map { RuleOfSome(rule: $0, positions: positions) }
    return oracle
  }

  /// The oracle's answer for the whole sequence, called by all ranks together.
  func expected(_ mask: MaskCase, on world: borrowing Communicator) throws -> Expected {
    try expected(on: world) { b, i, j, h in mask.sees(b, i, j, h) ? 0 : -Double.infinity }
  }

  /// The oracle's answer if something is added to every score, called by all ranks together.
  ///
  /// Each rank asks it about some of the queries: on a machine of few cores the oracle would take
  /// most of the time of a check if all ranks asked about everything.
  func expected(
    on world: borrowing Communicator,
    _ bias: (_ b: Int, _ i: Int, _ j: Int, _ h: Int) -> Double
  ) throws -> Expected {
    let own = Array(stride(from: world.rank, to: tokens, by: world.size))
    let oracle = oracle(queries: own)
    let q = rows(q, own)
    let k = k.values.map(Double.init)
    let v = v.values.map(Double.init)
    let ownBias = { (b: Int, i: Int, j: Int, h: Int) in bias(b, own[i], j, h) }
    let output = oracle(q: q, k: k, v: v, bias: ownBias)
    let gradients = oracle.gradients(
      q: q, k: k, v: v, outputGradient: rows(outputGradient, own), bias: ownBias)

    // What is not a rank's own is 0 in its part of the sums.
    let (row, valueRow) = (shape.queryHeads * shape.headDim, shape.queryHeads * shape.valueHeadDim)
    var sums = [
      spread(output.o, own, rowLength: valueRow), [Double](repeating: 0, count: lseCount),
      spread(gradients.dq, own, rowLength: row), gradients.dk, gradients.dv,
      sinks == nil
        ? []
        : oracle.sinkGradients(
          q: q, k: k, v: v, outputGradient: rows(outputGradient, own),
          bias: ownBias),
    ]
    for sequence in 0..<shape.batch * shape.queryHeads {
      for (local, position) in own.enumerated() {
        sums[1][sequence * tokens + position] = output.lse[sequence * own.count + local]
      }
    }
    for index in sums.indices { try world.allReduce(&sums[index], with: .sum) }
    return Expected(
      o: sums[0], lse: sums[1], dq: sums[2], dk: sums[3], dv: sums[4], dsinks: sums[5])
  }

  /// The same where all sequences have the same added to their scores.
  func expected(
    on world: borrowing Communicator, _ bias: (_ i: Int, _ j: Int, _ h: Int) -> Double
  ) throws -> Expected {
    try expected(on: world) { _, i, j, h in bias(i, j, h) }
  }

  /// Calls `body` with the gradient of each visible pair's score after all rules,
  /// `p_ij (do_i·v_j − Δ_i)`.
  ///
  /// - Parameter expected: of the same problem.
  func forEachPair(
    _ expected: Expected, _ bias: (_ b: Int, _ i: Int, _ j: Int, _ h: Int) -> Double,
    _ body: (_ b: Int, _ i: Int, _ j: Int, _ h: Int, _ gradient: Double) -> Void
  ) {
    let (d, w) = (shape.headDim, shape.valueHeadDim)
    func product(_ a: [Float], _ i: Int, _ b: [Float], _ j: Int, _ count: Int) -> Double {
      (0..<count).reduce(0) { $0 + Double(a[i + $1]) * Double(b[j + $1]) }
    }
    for b in 0..<shape.batch {
      for h in 0..<shape.queryHeads {
        let kv = h * shape.kvHeads / shape.queryHeads
        for i in 0..<tokens {
          let row = (b * tokens + i) * shape.queryHeads + h
          let delta = (0..<w).reduce(0) {
            $0 + Double(outputGradient.values[row * w + $1]) * expected.o[row * w + $1]
          }
          let lse = expected.lse[(b * shape.queryHeads + h) * tokens + i]
          for j in 0..<keyTokens {
            let added = bias(b, i, j, h)
            if added == -.infinity { continue }
            let key = (b * keyTokens + j) * shape.kvHeads + kv
            let s = scale * product(q.values, row * d, k.values, key * d, d)
            let score = referenceRule?.score(s, batch: b, query: i, key: j, head: h) ?? s
            let value = product(outputGradient.values, row * w, v.values, key * w, w)
            body(b, i, j, h, Foundation.exp(score + added - lse) * (value - delta))
          }
        }
      }
    }
  }

  private var lseCount: Int { shape.batch * shape.queryHeads * tokens }

  /// Some positions' rows of all sequences.
  private func rows(_ source: MemoryRows, _ positions: [Int]) -> [Double] {
    let length = source.rowLength
    return (0..<shape.batch).flatMap { batch in
      positions.flatMap { position in
        let first = (batch * tokens + position) * length
        return source.values[first..<first + length].map(Double.init)
      }
    }
  }

  /// The same rows where they belong among zeros.
  private func spread(_ rows: [Double], _ positions: [Int], rowLength: Int) -> [Double] {
    var all = [Double](repeating: 0, count: shape.batch * tokens * rowLength)
    for batch in 0..<shape.batch {
      for (local, position) in positions.enumerated() {
        let source = (batch * positions.count + local) * rowLength
        let target = (batch * tokens + position) * rowLength
        all.replaceSubrange(target..<target + rowLength, with: rows[source..<source + rowLength])
      }
    }
    return all
  }

  /// The same outputs with the gradients of constant branch weights.
  func detached(_ dilation: ReferenceDilation, _ exact: Expected) -> Expected {
    let gradients = oracle(queries: Array(0..<tokens)).detachedGradients(
      q: q.values.map(Double.init), k: k.values.map(Double.init), v: v.values.map(Double.init),
      outputGradient: outputGradient.values.map(Double.init), dilation: dilation)
    return Expected(
      o: exact.o, lse: exact.lse, dq: gradients.dq, dk: gradients.dk, dv: gradients.dv)
  }
}

/// A score rule where some queries are numbered as they follow one another.
private struct RuleOfSome: ReferenceScoreRule {
  let rule: any ReferenceScoreRule
  let positions: [Int]

  func score(_ s: Double, batch: Int, query: Int, key: Int, head: Int) -> Double {
    rule.score(s, batch: batch, query: positions[query], key: key, head: head)
  }

  func slope(_ s: Double, batch: Int, query: Int, key: Int, head: Int) -> Double {
    rule.slope(s, batch: batch, query: positions[query], key: key, head: head)
  }
}
