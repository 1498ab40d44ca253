import Attention
import Glibc
import Tensors

/// What queries have found so far, in a form in which it is merged with what they find elsewhere.
///
/// A row is a record `(m, s, s · o)`, where `e^m · s` is the sum of its weights and `o` its output.
/// Two are merged as online softmax does. Merging is symmetric to the last bit.
///
/// Source: Dao et al. 2023, Flash-Decoding.
struct PartialRows {
  let heads: Int
  let headDim: Int
  /// `[tokens, heads, headDim + 2]`.
  var records: [Float]

  private var record: Int { headDim + 2 }

  /// Rows that have found nothing.
  init(tokens: Int, heads: Int, headDim: Int) {
    (self.heads, self.headDim) = (heads, headDim)
    records = [Float](repeating: 0, count: tokens * heads * (headDim + 2))
    for first in stride(from: 0, to: records.count, by: headDim + 2) {
      records[first] = -.infinity
    }
  }

  /// Takes what some of the tokens have found, in keys that they have not met before.
  ///
  /// - Parameters:
  ///   - output: of one sequence.
  ///   - first: the first of the tokens.
  mutating func take(_ output: borrowing AttentionOutput, at first: Int) {
    let tokens = output.o.shape[1]
    let (o, lse, rest) = (output.o.span, output.lse.span, output.lseRemainder.span)
    var found = PartialRows(tokens: tokens, heads: heads, headDim: headDim)
    for token in 0..<tokens {
      for head in 0..<heads {
        let (row, state) = (token * heads + head, head * tokens + token)
        if lse[state] == -.infinity { continue }
        let (first, sum) = (row * record, exp(rest[state]))
        (found.records[first], found.records[first + 1]) = (lse[state], sum)
        for column in 0..<headDim {
          found.records[first + 2 + column] = o[row * headDim + column] * sum
        }
      }
    }
    let (start, record) = (first * heads * record, record)
    var all = records.mutableSpan
    var part = all.part(start..<start + found.records.count)
    Self.merge(found.records.span, into: &part, record: record)
  }

  /// Takes what the same queries have found elsewhere.
  mutating func merge(_ others: [Float]) {
    let record = record
    var span = records.mutableSpan
    Self.merge(others.span, into: &span, record: record)
  }

  private static func merge(
    _ lower: borrowing Span<Float>, into upper: inout MutableSpan<Float>, record: Int
  ) {
    for first in stride(from: 0, to: lower.count, by: record) {
      let (a, b) = (lower[first], upper[first])
      let largest = max(a, b)
      // Both have seen nothing.
      if largest == -.infinity { continue }
      let (ofLower, ofUpper) = (exp(a - largest), exp(b - largest))
      upper[first] = largest
      for index in first + 1..<first + record {
        upper[index] = lower[index] * ofLower + upper[index] * ofUpper
      }
    }
  }

  /// The outputs of all that has been found, `[tokens, heads, headDim]`.
  func write(to outputs: inout MutableSpan<Float>) {
    for row in 0..<records.count / record {
      let sum = records[row * record + 1]
      for column in 0..<headDim {
        outputs[row * headDim + column] = sum == 0 ? 0 : records[row * record + 2 + column] / sum
      }
    }
  }
}
