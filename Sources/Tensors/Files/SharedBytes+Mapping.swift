extension SharedBytes {
  /// The contents of a file as memory: pages come from the file when they are first read.
  ///
  /// Processes of a host that map the same file share its pages, and the system may drop and read
  /// them again whenever memory is short. A file that is cut short while it is mapped ends the
  /// process with SIGBUS where a page of it is missing; nothing can be done about that here.
  ///
  /// - Parameter path: A regular file.
  /// - Throws: A `TensorFileError` if the file cannot be opened or mapped.
  /// - Complexity: O(1); pages are read when they are first used.
  public init(mapping path: String) throws(TensorFileError) {
    try self.init(ReadableFile(path: path))
  }

  package init(_ file: ReadableFile) throws(TensorFileError) {
    let mapping = try Mapping(file)
    unsafe self.init(owner: mapping, base: mapping.base, byteCount: mapping.byteCount)
  }
}
