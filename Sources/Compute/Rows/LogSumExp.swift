import Glibc

/// What is known so far of `ln Σ exp x` of each of some rows, of which some columns come at a time.
public struct LogSumExpRows: Sendable {
  private var states: [State]

  fileprivate struct State {
    var largest = -Float.infinity
    var sum = 0.0
  }

  /// Rows of which nothing has come.
  public init(rows: Int) {
    states = Array(repeating: State(), count: rows)
  }

  /// Takes some more columns of all rows, on all threads.
  ///
  /// - Parameter columns: `[rows, width]`.
  public mutating func add(_ columns: borrowing Span<Float>, width: Int, team: ThreadTeam) {
    precondition(columns.count == states.count * width, "columns of other rows")
    unsafe columns.withUnsafeBufferPointer { columns in
      unsafe states.withUnsafeMutableBufferPointer { states in
        guard let from = columns.baseAddress, let to = states.baseAddress else { return }
        nonisolated(unsafe) let (source, result) = unsafe (from, to)
        team.forEachPart(of: states.count, cost: 4 * width) { part in
          for row in part { unsafe result[row].add(source + row * width, width) }
        }
      }
    }
  }

  /// Of a row.
  public func logSumExp(_ row: Int) -> Double { Double(states[row].largest) + log(states[row].sum) }
}

extension LogSumExpRows.State {
  /// Takes some more numbers: online softmax.
  @unsafe
  mutating func add(_ numbers: UnsafePointer<Float>, _ count: Int) {
    var most = Vector(repeating: -.infinity)
    var index = 0
    while index + 8 <= count {
      let x = unsafe Vector(loading: numbers, at: index)
      most = most.replacing(with: x, where: x .> most)
      index += 8
    }
    var top = largest
    for lane in 0..<8 { top = Swift.max(top, most[lane]) }
    while index < count {
      top = unsafe Swift.max(top, numbers[index])
      index += 1
    }
    guard top > -.infinity else { return }
    var total = Vector()
    index = 0
    while index + 8 <= count {
      unsafe total += exp(Vector(loading: numbers, at: index) - Vector(repeating: top))
      index += 8
    }
    var rest = Double(total.laneSum)
    while index < count {
      rest += unsafe Double(exp(Vector(repeating: numbers[index] - top))[0])
      index += 1
    }
    sum = largest == -.infinity ? rest : sum * Glibc.exp(Double(largest - top)) + rest
    largest = top
  }
}
