import MPI

/// An expectation that did not hold on some rank.
struct CheckFailure: Error, CustomStringConvertible {
  let rank: Int
  let check: String
  var description: String { "check failed on rank \(rank): \(check)" }
}

extension Check {
  /// Throws, naming this rank, where `condition` is false.
  func expect(_ condition: Bool, _ check: @autoclosure () -> String) throws {
    guard condition else { throw CheckFailure(rank: rank, check: check()) }
  }

  /// Throws where the values differ, naming both.
  func expect<Value: Equatable>(
    _ actual: Value, equals expected: Value, _ check: @autoclosure () -> String
  ) throws {
    guard actual == expected else {
      throw CheckFailure(rank: rank, check: "\(check()): \(actual) instead of \(expected)")
    }
  }

  /// Throws unless `body` throws an `MPIError` of the given class.
  func expectError(
    _ errorClass: MPIError.ErrorClass, _ check: String, _ body: () throws -> Void
  ) throws {
    do { try body() } catch let error as MPIError {
      return try expect(error.errorClass, equals: errorClass, "\(check) [\(error)]")
    }
    throw CheckFailure(rank: rank, check: "\(check): no error")
  }

  /// Throws unless the wait of a receive throws an `MPIError` of the given class, which it returns.
  @discardableResult
  func expectError(
    _ errorClass: MPIError.ErrorClass, _ check: String,
    of receiving: consuming PendingReceive<MessageBuffer<UInt8>>,
    within duration: Duration = .seconds(20)
  ) throws -> MPIError {
    do {
      _ = try receiving.wait(deadline: .now + duration)
    } catch {
      try expect(error.errorClass, equals: errorClass, "\(check) [\(error)]")
      return error
    }
    throw CheckFailure(rank: rank, check: "\(check): no error")
  }
}

/// Where the checks of one case run.
struct Check {
  let rank: Int
  let size: Int
  var next: Int { (rank + 1) % size }
  var previous: Int { (rank + size - 1) % size }

  init(_ world: borrowing Communicator) {
    rank = world.rank
    size = world.size
  }
}
