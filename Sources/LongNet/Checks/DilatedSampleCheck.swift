public import Attention
import AttentionReference
import Glibc
public import SequenceParallel
public import Tensors

/// A check of some rows of dilated attention against its closed form, whatever the length of the
/// sequence.
///
/// The keys that a sampled row sees are listed branch by branch, read from the source again, and
/// weighed in `Double` by one softmax to whose scores the logarithm of the number of shared
/// branches is added. Nothing that the operator has touched is used but its result.
public struct DilatedSampleCheck: Sendable {
  /// A branch as the oracle has it.
  struct Branch {
    let length: Int
    let rate: Int
    /// For each query head.
    let offsets: [Int]

    /// Whether a query sees a key that is not after it, or no matter where if not causal.
    func sees(_ query: Int, _ key: Int, head: Int) -> Bool {
      query / length == key / length && query % length % rate == offsets[head]
        && key % length % rate == offsets[head]
    }
  }

  private let branches: [Branch]
  private let isCausal: Bool
  private let shape: AttentionShape
  private let tokens: Int
  private let scale: Double
  private let team: ThreadTeam
  /// In ascending order.
  private let samples: [Sample]

  struct Sample: Hashable {
    let batch: Int
    let position: Int
  }

  /// Chooses the rows to check.
  ///
  /// They are the ends of the sequence, the first and last rows that each branch selects in its
  /// last segment, and, by a hash of the seed, rows anywhere and rows that a branch selects: of
  /// high rates those would hardly ever be met by chance.
  ///
  /// - Parameters:
  ///   - rows: the most to check.
  ///   - team: computes.
  public init(
    of attention: StreamedDilatedAttention, rows: Int = 64, seed: UInt64 = 0,
    team: ThreadTeam = ThreadTeam(threads: 1)
  ) {
    self.team = team
    let pattern = attention.pattern
    let heads = pattern.queryHeads
    shape = attention.shape
    tokens = attention.tokens
    scale = attention.scale
    isCausal = pattern.isCausal
    branches = pattern.branches.map { branch in
      let rate = branch.dilationRate
      return Branch(
        length: branch.segmentLength, rate: rate,
        offsets: (0..<heads).map {
          pattern.headOffset == .modulo ? $0 % rate : $0 / ((heads + rate - 1) / rate)
        })
    }
    samples = Self.choose(
      rows: rows, branches: branches, batch: shape.batch, tokens: tokens, heads: heads, seed: seed)
  }

  // MARK: Checking

  /// Checks the sampled rows of a window.
  ///
  /// - Parameters:
  ///   - output: the result of the window.
  ///   - positions: of the window.
  ///   - q: the source of the queries.
  ///   - k: the source of the keys.
  ///   - v: the source of the values.
  /// - Throws: what a source throws.
  /// - Complexity: O(rows · heads · Σ segment length / rate) in `Double`.
  public func check(
    _ output: borrowing AttentionOutput, positions: PositionRange, q: some TokenRows,
    k: some TokenRows, v: some TokenRows
  ) throws -> Finding {
    var finding = Finding()
    let samples = samples.filter { positions.contains($0.position) }
    // Each head of a row is a unit.
    let rows = try team.map(samples.count * shape.queryHeads) { index in
      let (number, head) = index.quotientAndRemainder(dividingBy: shape.queryHeads)
      let position = samples[number].position
      let query = try q.rows(
        batch: samples[number].batch, tokens: PositionRange(position..<position + 1)
      ).map(Double.init)
      var largestScore = 0.0
      let row = try row(
        samples[number], head: head, query: query.vector(head, count: shape.headDim), k: k, v: v,
        largestScore: &largestScore)
      return (row: row, largestScore: largestScore)
    }
    finding.largestScore = rows.map(\.largestScore).max() ?? 0
    for (number, sample) in samples.enumerated() {
      finding.rows += 1
      let token = sample.position - positions.start
      for head in 0..<shape.queryHeads {
        let expected = rows[number * shape.queryHeads + head].row
        let first =
          ((sample.batch * positions.count + token) * shape.queryHeads + head) * shape.valueHeadDim
        for (column, value) in expected.output.enumerated() {
          finding.output.add(Double(output.o.span[first + column]), value)
        }
        let index = (sample.batch * shape.queryHeads + head) * positions.count + token
        finding.logSumExp.add(Double(output.lse.span[index]), expected.logSumExp)
      }
    }
    return finding
  }

  /// One row by the closed form.
  private func row(
    _ sample: Sample, head: Int, query: ArraySlice<Double>, k: some TokenRows, v: some TokenRows,
    largestScore: inout Double
  ) throws -> ReferenceRow.Result {
    let kvHead = head * shape.kvHeads / shape.queryHeads
    let piece = max(1, (1 << 18) / max(k.rowLength, v.rowLength))
    var results = [ReferenceRow(valueHeadDim: shape.valueHeadDim).result]
    for (index, branch) in branches.enumerated() {
      guard branch.sees(sample.position, sample.position, head: head) else { continue }
      let start = sample.position / branch.length * branch.length + branch.offsets[head]
      let end =
        isCausal
        ? sample.position : min(tokens, (sample.position / branch.length + 1) * branch.length) - 1
      let all = PositionRange(
        start: start, stride: branch.rate, count: (end - start) / branch.rate + 1)
      for first in stride(from: 0, to: all.count, by: piece) {
        let positions = all.slice(first..<min(first + piece, all.count))
        let keys = try k.rows(batch: sample.batch, tokens: positions).map(Double.init)
        let values = try v.rows(batch: sample.batch, tokens: positions).map(Double.init)
        var reference = ReferenceRow(valueHeadDim: shape.valueHeadDim)
        for (row, position) in positions.enumerated() {
          func sees(_ branch: Branch) -> Bool {
            branch.sees(sample.position, position, head: head)
          }
          // A key counts once, with the first branch that shows it.
          if branches[..<index].contains(where: sees) { continue }
          let multiplicity = Double(branches.count(where: sees))
          let vector = row * shape.kvHeads + kvHead
          let score = scale * dot(query, keys.vector(vector, count: shape.headDim))
          largestScore = max(largestScore, abs(score))
          reference.add(
            score: score + log(multiplicity),
            value: values.vector(vector, count: shape.valueHeadDim))
        }
        results.append(reference.result)
      }
    }
    return ReferenceRow.combine(results)
  }
}
