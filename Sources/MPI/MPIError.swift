internal import COpenMPI
internal import Synchronization

/// An MPI call that failed, or a wait that ran out of time.
///
/// MPI's own failures carry the code that the call returned; failures which this module finds
/// itself (a deadline, a message shorter than its buffer) have ``code`` 0 and an
/// ``ErrorClass`` of their own.
public struct MPIError: Error, Sendable, Hashable, CustomStringConvertible {
  /// The return code of the failed call, 0 where this module found the failure.
  public let code: Int

  /// The kind of failure: what a program decides by.
  public let errorClass: ErrorClass

  /// The MPI function that failed, as `MPI_Imrecv`.
  public let function: String

  /// What went wrong: MPI's own text, or this module's sentence.
  public let text: String

  /// The function, the text and the error class in one line.
  public var description: String { "\(function): \(text) [\(errorClass)]" }

  /// A failure found by this module rather than reported by MPI.
  package init(_ errorClass: ErrorClass, function: String, _ text: String) {
    self.code = 0
    self.errorClass = errorClass
    self.function = function
    self.text = text
    lastFailure.withLock { [description] in $0 = description }
  }

  /// A failure that MPI reported: the one place where return codes become errors.
  ///
  /// C: `MPI_Error_class`, `MPI_Error_string`, MPI 3.1 §8.4.
  init(code: CInt, function: String) {
    var classValue: CInt = 0
    unsafe MPI_Error_class(code, &classValue)
    let text = unsafe textFromC(capacity: Int(MPI_MAX_ERROR_STRING)) { text in
      var length: CInt = 0
      unsafe MPI_Error_string(code, text, &length)
    }
    self.code = Int(code)
    self.errorClass = ErrorClass(rawValue: Int(classValue))
    self.function = function
    self.text = text
    lastFailure.withLock { [description] in $0 = description }
  }

  /// The latest error made in this process, for the sentence of a program that is being stopped.
  static var latest: String? { lastFailure.withLock { $0 } }
}

/// A transfer dropped while an error unwinds hides that error; it is kept here to be told anyway.
private let lastFailure = Mutex<String?>(nil)

/// Throws when a call did not return `MPI_SUCCESS`.
@inline(__always)
func check(_ code: CInt, _ function: String) throws(MPIError) {
  guard code == MPI_SUCCESS else { throw MPIError(code: code, function: function) }
}
