import Tensors

/// The best factors of a rank of a matrix, `W ≈ E D`: E are left singular vectors times singular
/// values, and D right singular vectors, the largest number of each of which is positive.
///
/// Pairs of columns are turned until all are at right angles, in double precision; disjoint pairs
/// are turned at once on all threads, in an order that does not depend on how many there are.
///
/// Source: Hestenes 1958, Inversion of Matrices by Biorthogonalization and Related Results.
struct SingularFactors {
  /// `[rows, rank]`.
  private(set) var e: [Double] = []
  /// `[rank, columns]`.
  private(set) var d: [Double] = []

  private static let mostSweeps = 60

  /// - Parameter w: `[rows, columns]`.
  /// - Complexity: O(sweeps · rows · columns · min(rows, columns)).
  init(of w: MixerTensor, rank: Int, on line: RankLine) {
    let (rows, columns) = (w.form.sizes[0], w.form.sizes[1])
    // Vectors to turn are the shorter side's: columns, or the rows of a wide matrix.
    let isWide = columns > rows
    let (count, length) = isWide ? (rows, columns) : (columns, rows)
    let work = Vectors(count: count, length: length)
    for vector in 0..<count {
      for place in 0..<length {
        let index = isWide ? vector * columns + place : place * columns + vector
        unsafe work.set(vector, place, Double(w.base[index]))
      }
    }
    for _ in 0..<Self.mostSweeps where !work.sweep(on: line) {}
    let order = (0..<count).sorted { work.norm($0) > work.norm($1) }.prefix(rank)
    e = [Double](repeating: 0, count: rows * rank)
    d = [Double](repeating: 0, count: rank * columns)
    for (index, vector) in order.enumerated() {
      let norm = work.norm(vector)
      // Vectors are those of one side times a singular value, and their turns those of the other.
      for place in 0..<length {
        let x = norm > 0 ? work.number(vector, place) / norm : 0
        if isWide { d[index * columns + place] = x } else { e[place * rank + index] = x * norm }
      }
      for place in 0..<count {
        let x = work.turn(vector, place)
        if isWide { e[place * rank + index] = x * norm } else { d[index * columns + place] = x }
      }
      let own = d[index * columns..<(index + 1) * columns]
      if (own.max { abs($0) < abs($1) } ?? 1) < 0 {
        for place in own.indices { d[place] = -d[place] }
        for row in 0..<rows { e[row * rank + index] = -e[row * rank + index] }
      }
    }
  }

  /// Vectors that are turned two at a time, and what they are made of.
  @safe
  private final class Vectors: @unchecked Sendable {
    private let memory: AlignedBuffer<Double>
    private let count: Int
    private let length: Int
    /// Numbers of a vector, and of what it is made of after it.
    private var row: Int { length + count }

    init(count: Int, length: Int) {
      (self.count, self.length) = (count, length)
      memory = AlignedBuffer(zeros: count * (length + count))
      for vector in 0..<count {
        unsafe memory.unsafeBaseAddress[vector * row + length + vector] = 1
      }
    }

    func set(_ vector: Int, _ place: Int, _ number: Double) {
      unsafe memory.unsafeBaseAddress[vector * row + place] = number
    }

    func number(_ vector: Int, _ place: Int) -> Double {
      unsafe memory.unsafeBaseAddress[vector * row + place]
    }

    func turn(_ vector: Int, _ place: Int) -> Double { number(vector, length + place) }

    func norm(_ vector: Int) -> Double {
      (0..<length).reduce(0) { $0 + number(vector, $1) * number(vector, $1) }.squareRoot()
    }

    /// Turns every pair once, in rounds of disjoint ones; answers whether all were at right angles.
    func sweep(on line: RankLine) -> Bool {
      let players = count + count % 2
      let largest = AlignedBuffer<Double>(zeros: max(1, players / 2))
      nonisolated(unsafe) let results = unsafe largest.unsafeBaseAddress
      for round in 0..<max(0, players - 1) {
        line.compute(players / 2) { [self] pair, _ in
          // The first stays where it is, the others go round.
          func seat(_ place: Int) -> Int {
            place == 0 ? 0 : 1 + (place - 1 + round) % (players - 1)
          }
          let (one, other) = (seat(pair), seat(players - 1 - pair))
          if one >= count || other >= count { return }
          unsafe results[pair] = max(results[pair], turn(min(one, other), with: max(one, other)))
        }
      }
      return (0..<players / 2).allSatisfy { unsafe results[$0] < 1e-12 }
    }

    /// Turns two vectors until they are at right angles; answers how far from it they were.
    private func turn(_ one: Int, with other: Int) -> Double {
      let (a, b) = unsafe (
        memory.unsafeBaseAddress + one * row, memory.unsafeBaseAddress + other * row
      )
      var (aa, bb, ab) = (0.0, 0.0, 0.0)
      for place in 0..<length {
        unsafe aa += a[place] * a[place]
        unsafe bb += b[place] * b[place]
        unsafe ab += a[place] * b[place]
      }
      let cosine = abs(ab) / (aa * bb).squareRoot()
      guard cosine > 1e-14 else { return 0 }
      let zeta = (bb - aa) / (2 * ab)
      let t = (zeta < 0 ? -1 : 1) / (abs(zeta) + (1 + zeta * zeta).squareRoot())
      let c = 1 / (1 + t * t).squareRoot()
      let s = c * t
      for place in 0..<row {
        let (x, y) = unsafe (a[place], b[place])
        unsafe a[place] = c * x - s * y
        unsafe b[place] = s * x + c * y
      }
      return cosine
    }
  }
}
