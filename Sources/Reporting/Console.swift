import Glibc

/// Prints a line to standard error at once.
package func printError(_ line: String) {
  write(line + "\n", to: STDERR_FILENO)
}

/// Prints a report on standard output, whole or with an error that says why not.
package func printReport(_ text: String) throws(ReportFailure) { try printPart(text + "\n") }

/// Prints a part of a line on standard output at once.
package func printPart(_ text: String) throws(ReportFailure) {
  let number = write(text, to: STDOUT_FILENO)
  guard number == 0 else { throw ReportFailure(number: number) }
}

/// A report did not get where it was to go.
package struct ReportFailure: Error, CustomStringConvertible {
  /// The system's number of the error.
  package let number: Int32

  package var description: String {
    "the report cannot be written to standard output: \(unsafe String(cString: strerror(number)))."
  }
}

/// Makes standard input, output and error exist; what was closed stays unwritable.
///
/// Their numbers would be taken by the next files that are opened, into which reports would then
/// go.
package func reserveStandardStreams() {
  // The lowest number is taken first.
  while true {
    let descriptor = unsafe open("/dev/null", O_RDONLY)
    if descriptor > STDERR_FILENO || descriptor < 0 {
      close(descriptor)
      return
    }
  }
}

/// Writes text to a file descriptor without a buffer, so that nothing is lost when a job ends.
///
/// - Returns: the system's number of an error, 0 if all is written.
@discardableResult
package func write(_ text: String, to descriptor: Int32) -> Int32 {
  let bytes = Array(text.utf8)
  var start = 0
  while start < bytes.count {
    let count = unsafe bytes.withUnsafeBytes {
      unsafe Glibc.write(descriptor, $0.baseAddress.map { unsafe $0 + start }, bytes.count - start)
    }
    if count < 0, errno == EINTR { continue }
    guard count > 0 else { return count < 0 ? errno : EIO }
    start += count
  }
  return 0
}
