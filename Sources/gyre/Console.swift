import Glibc

/// Prints a line to standard error at once.
func printError(_ line: String) {
  write(line + "\n", to: STDERR_FILENO)
}

/// Writes text to a file descriptor without a buffer, so that nothing is lost when a job ends.
func write(_ text: String, to descriptor: Int32) {
  let bytes = Array(text.utf8)
  var start = 0
  while start < bytes.count {
    let count = unsafe bytes.withUnsafeBytes {
      unsafe Glibc.write(descriptor, $0.baseAddress.map { unsafe $0 + start }, bytes.count - start)
    }
    if count < 0, errno == EINTR { continue }
    guard count > 0 else { return }
    start += count
  }
}
