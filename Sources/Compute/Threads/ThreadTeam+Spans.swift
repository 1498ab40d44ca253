import Synchronization
import Tensors

extension ThreadTeam {
  /// Calls `body` with parts of some memory that are whole rows, on all threads; together they are
  /// all of it.
  ///
  /// For what fills memory and may fail: reading, generating, converting. Parts do not depend on
  /// the number of threads.
  ///
  /// - Parameters:
  ///   - numbers: rows, one after the other.
  ///   - rowLength: numbers of a row.
  ///   - partLength: about as many numbers of a part.
  ///   - body: is given a part and which rows it is.
  /// - Throws: what `body` throws for the first part that fails, by its place; those after it may
  ///   not have been tried.
  public func forEachPart<Number>(
    of numbers: inout MutableSpan<Number>, rowLength: Int, partLength: Int = smallestPart,
    _ body: @Sendable (_ part: inout MutableSpan<Number>, _ rows: Range<Int>) throws -> Void
  ) throws {
    let rowCount = rowLength == 0 ? 0 : numbers.count / rowLength
    precondition(rowCount * rowLength == numbers.count, "not a whole number of rows")
    let failure = Mutex<Failure?>(nil)
    unsafe numbers.withUnsafeMutableBufferPointer { numbers in
      nonisolated(unsafe) let numbers = unsafe numbers
      forEachPart(of: rowCount, length: max(1, partLength / max(1, rowLength))) { rows in
        if failure.withLock({ $0.map { $0.place < rows.lowerBound } ?? false }) { return }
        let places = rows.lowerBound * rowLength..<rows.upperBound * rowLength
        var part = unsafe MutableSpan(
          _unsafeElements: UnsafeMutableBufferPointer(rebasing: numbers[places]))
        do {
          try body(&part, rows)
        } catch {
          failure.withLock { $0 = Failure.first($0, Failure(place: rows.lowerBound, error: error)) }
        }
      }
    }
    if let failure = failure.withLock({ $0 }) { throw failure.error }
  }

  /// The values of `body` for 0, 1, …, computed on all threads, each a unit of its own.
  ///
  /// - Throws: what `body` throws for the lowest number that fails; those after it may not have
  ///   been tried.
  public func map<Value: Sendable>(
    _ count: Int, _ body: @Sendable (Int) throws -> Value
  ) throws -> [Value] {
    let values = Mutex([Value?](repeating: nil, count: count))
    let failure = Mutex<Failure?>(nil)
    forEachPart(of: count, length: 1) { unit in
      let index = unit.lowerBound
      if failure.withLock({ $0.map { $0.place < index } ?? false }) { return }
      do {
        let value = try body(index)
        values.withLock { $0[index] = value }
      } catch {
        failure.withLock { $0 = Failure.first($0, Failure(place: index, error: error)) }
      }
    }
    if let failure = failure.withLock({ $0 }) { throw failure.error }
    return values.withLock { $0.compactMap { $0 } }
  }

  /// The index of the first NaN or infinity, or nil if all numbers are finite.
  ///
  /// - Complexity: O(`count`), at the speed of memory, shared among the threads.
  public func firstNonFiniteIndex(of numbers: borrowing Span<Float>) -> Int? {
    let first = Mutex<Int?>(nil)
    unsafe numbers.withUnsafeBufferPointer { numbers in
      nonisolated(unsafe) let numbers = unsafe numbers
      forEachPart(of: unsafe numbers.count) { part in
        let span = unsafe Span(_unsafeElements: UnsafeBufferPointer(rebasing: numbers[part]))
        guard let index = span.firstNonFiniteIndex else { return }
        first.withLock { $0 = min($0 ?? .max, part.lowerBound + index) }
      }
    }
    return first.withLock { $0 }
  }

  /// Copies numbers, shared among the threads.
  public func copy(_ source: borrowing Span<Float>, to target: inout MutableSpan<Float>) {
    precondition(source.count == target.count, "as many numbers")
    unsafe source.withUnsafeBufferPointer { source in
      unsafe target.withUnsafeMutableBufferPointer { target in
        guard let first = source.baseAddress, let place = target.baseAddress else { return }
        nonisolated(unsafe) let (from, to) = unsafe (first, place)
        forEachPart(of: source.count) { part in
          unsafe (to + part.lowerBound).update(from: from + part.lowerBound, count: part.count)
        }
      }
    }
  }

  /// A part that has failed.
  private struct Failure {
    let place: Int
    let error: any Error

    static func first(_ one: Failure?, _ other: Failure) -> Failure {
      guard let one, one.place < other.place else { return other }
      return one
    }
  }
}
