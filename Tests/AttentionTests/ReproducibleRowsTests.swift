import Attention
import AttentionTypes
import Tensors
import Testing

/// One row of floats times a power of two.
private struct Term {
  var values: [Float]
  var exponent: Float
}

@Suite("Sums that do not depend on order")
struct ReproducibleRowsTests {
  private let columns = 21

  /// The sums of terms, added one by one to `parts` sums in turn, which are added at the end.
  ///
  /// - Returns: the sums, and the integers that they are kept in.
  private func sum(_ terms: [Term], parts: Int = 1) -> (values: [Float], words: [Int64]) {
    let partial = buffer(rows: parts)
    let total = buffer(rows: 1)
    let rows = unsafe ReproducibleRows(partial.unsafeBaseAddress, rows: parts, columns: columns)
    let totals = unsafe ReproducibleRows(total.unsafeBaseAddress, rows: 1, columns: columns)
    for (index, term) in terms.enumerated() {
      unsafe term.values.withUnsafeBufferPointer {
        guard let values = $0.baseAddress else { return }
        // Panels of the columns follow one another.
        unsafe rows.add(
          values, panelWidth: 16, panelStride: 16, exponent: term.exponent, to: index % parts)
      }
    }
    for part in 0..<parts { unsafe totals.add(row: part, of: rows, to: 0) }
    var values = [Float](repeating: .nan, count: columns)
    unsafe values.withUnsafeMutableBufferPointer {
      if let first = $0.baseAddress { unsafe totals.write(row: 0, times: 1, to: first) }
    }
    return (values, (0..<total.count).map { total[$0] })
  }

  private func buffer(rows: Int) -> AlignedBuffer<Int64> {
    AlignedBuffer(zeros: ReproducibleRows.wordCount(rows: rows, columns: columns))
  }

  private func terms(_ count: Int, exponents: ClosedRange<Int>, seed: UInt64) -> [Term] {
    var random = Uniform(seed: seed)
    let span = Float(exponents.count - 1)
    return (0..<count).map { _ in
      let exponent =
        Float(exponents.lowerBound)
        + (random.values(1, amplitude: 1)[0].magnitude
        * span).rounded(.down)
      return Term(values: random.values(columns, amplitude: 1), exponent: exponent)
    }
  }

  private func shuffled(_ terms: [Term], seed: UInt64) -> [Term] {
    var random = Uniform(seed: seed)
    return zip(terms, random.values(terms.count, amplitude: 1)).sorted { $0.1 < $1.1 }.map(\.0)
  }

  @Test(
    "any order and any grouping, terms within one bin and across many",
    arguments: [0...0, 0...39, -60...60, -20...100, -3000...3000])
  func order(exponents: ClosedRange<Int>) {
    for seed in 1...20 as ClosedRange<UInt64> {
      let terms = terms(40, exponents: exponents, seed: seed)
      let expected = sum(terms)
      #expect(sum(terms.reversed()) == expected)
      for parts in [1, 2, 3, 7] {
        let other = sum(shuffled(terms, seed: seed + 100), parts: parts)
        #expect(other == expected)
      }
    }
  }

  @Test("the sum is exact to 38 bits of its largest term, wherever that lies in its bin")
  func precision() {
    for shift in 0..<80 {
      let exponents = shift - 50...shift - 10
      let terms = terms(30, exponents: exponents, seed: 7)
      let exact = (0..<columns).map { column in
        terms.reduce(0.0) { $0 + Double($1.values[column]) * exp2(Double($1.exponent)) }
      }
      let largest = terms.flatMap { term in
        term.values.map { abs(Double($0)) * exp2(Double(term.exponent)) }
      }.reduce(0, max)
      for (actual, exact) in zip(sum(terms).values, exact) {
        // Half a unit for each term, and the rounding of the result.
        let tolerance = 30 * 0x1p-38 * largest + abs(exact) * 0x1p-24
        #expect(abs(Double(actual) - exact) <= tolerance)
      }
    }
  }

  @Test("extremes of Float, zeros, and nothing")
  func extremes() {
    let huge = Term(
      values: Array(repeating: .greatestFiniteMagnitude, count: columns), exponent: 0)
    let tiny = Term(
      values: Array(repeating: .leastNonzeroMagnitude, count: columns), exponent: 0)
    let zero = Term(values: Array(repeating: 0, count: columns), exponent: 1000)
    #expect(sum([]).values == Array(repeating: 0, count: columns))
    #expect(sum([zero]).values == Array(repeating: 0, count: columns))
    #expect(sum([tiny, zero]).values == tiny.values)
    #expect(sum([huge]).values == huge.values)
    #expect(sum([tiny, huge]).values == huge.values)
    #expect(sum([huge, huge]).values.allSatisfy { $0 == .infinity })
  }

  @Test("what is not finite is not lost", arguments: [Float.nan, .infinity, -.infinity])
  func notFinite(value: Float) {
    let good = Term(values: Array(repeating: 1, count: columns), exponent: 0)
    for column in [0, 8, columns - 1] {
      var bad = good
      bad.values[column] = value
      for terms in [[bad, good], [good, bad], [bad, bad, good]] {
        for parts in 1...3 { #expect(sum(terms, parts: parts).values.allSatisfy { $0.isNaN }) }
      }
    }
    #expect(
      sum([good, Term(values: good.values, exponent: 0x1p60)]).values.allSatisfy { $0.isNaN })
  }
}

/// 2^x of an integer.
private func exp2(_ x: Double) -> Double { Double(sign: .plus, exponent: Int(x), significand: 1) }
