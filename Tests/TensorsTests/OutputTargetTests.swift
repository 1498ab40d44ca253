import Foundation
import Glibc
import Tensors
import TestSupport
import Testing

@Suite("Places of files to write")
struct OutputTargetTests {
  private func mode(_ path: String) throws -> mode_t {
    var status = stat()
    try #require(unsafe stat(path, &status) == 0)
    return status.st_mode & 0o7777
  }

  private func problem(
    _ path: String, existing: OutputTarget.Existing = .replace
  ) -> String {
    refusal { () throws(TensorFileError) in _ = try OutputTarget(path, existing: existing) }
      .map { "\($0)" } ?? "none"
  }

  @Test("What is no regular file is refused, whichever way leads to it")
  func specialFiles() throws {
    let folder = try TemporaryFolder()
    let pipe = folder.path + "/pipe"
    #expect(unsafe mkfifo(pipe, 0o600) == 0)
    let link = folder.path + "/link"
    try FileManager.default.createSymbolicLink(atPath: link, withDestinationPath: "pipe")
    let circle = folder.path + "/circle"
    try FileManager.default.createSymbolicLink(atPath: circle, withDestinationPath: "circle")
    let socket = folder.path + "/socket"
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    unsafe withUnsafeMutableBytes(of: &address.sun_path) { bytes in
      unsafe bytes.copyBytes(from: socket.utf8)
    }
    let descriptor = Glibc.socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
    defer { close(descriptor) }
    let bound = unsafe withUnsafePointer(to: &address) { pointer in
      unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        unsafe bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
      }
    }
    #expect(bound == 0)
    for (path, words) in [
      (pipe, "a pipe"), (link, "a pipe"), ("/dev/null", "a device"), (socket, "a socket"),
      (folder.path, "a directory"), (circle, "in a circle"),
      (folder.path + "/none/file", "does not exist"), (pipe + "/file", "is not a directory"),
    ] {
      #expect(problem(path).contains(words), "\(problem(path))")
    }
    #expect(folder.names == ["circle", "link", "pipe", "socket"])
  }

  @Test("Links stay, and what they lead to is written", arguments: [true, false])
  func links(isDangling: Bool) throws {
    let folder = try TemporaryFolder()
    try FileManager.default.createDirectory(
      atPath: folder.path + "/deep", withIntermediateDirectories: false)
    if !isDangling { _ = try folder.file("deep/file", [1, 2, 3]) }
    for (link, destination) in [("a", "b"), ("b", "deep/c"), ("deep/c", "file")] {
      try FileManager.default.createSymbolicLink(
        atPath: folder.path + "/" + link, withDestinationPath: destination)
    }
    let target = try OutputTarget(folder.path + "/a")
    #expect(target.identity == (try OutputTarget(folder.path + "/deep/../deep/file")).identity)
    try target.write([7])
    #expect(try folder.bytes("deep/file") == [7])
    #expect(
      try FileManager.default.destinationOfSymbolicLink(atPath: folder.path + "/a") == "b")
    #expect(folder.names == ["a", "b", "deep"])
  }

  @Test("A file that is replaced keeps its permissions; a read-only one is not replaced")
  func permissions() throws {
    let folder = try TemporaryFolder()
    let path = try folder.file("file", [1])
    for bits: mode_t in [0o640, 0o600, 0o777] {
      #expect(unsafe chmod(path, bits) == 0)
      try OutputTarget(path).write([2])
      #expect(try mode(path) == bits)
    }
    #expect(unsafe chmod(path, 0o444) == 0)
    #expect(problem(path).contains("is read-only"))
  }

  @Test("A file that is to be kept is, even if it appears late")
  func noOverwrite() throws {
    let folder = try TemporaryFolder()
    let path = folder.path + "/file"
    let target = try OutputTarget(path, existing: .keep)
    try target.write([1])
    #expect(problem(path, existing: .keep).contains("not to be overwritten"))
    let late = refusal { () throws(TensorFileError) in try target.write([2]) }
    #expect(late?.description.contains("has appeared meanwhile") == true)
    #expect(try folder.bytes("file") == [1])
    #expect(folder.names == ["file"])
  }

  @Test("A lock is seen by others until its last user lets go of it")
  func locks() throws {
    let folder = try TemporaryFolder()
    let path = folder.path + "/file"
    #expect(try FileLock.acquire(path) == nil)
    var lock: FileLock? = try OutputTarget(path).write([1])
    #expect(lock?.isOf(path) == true)
    let error = refusal { () throws(TensorFileError) in _ = try FileLock.acquire(path) }
    #expect(error?.description.contains("another run uses it now") == true)
    lock = nil
    #expect(try FileLock.acquire(path) != nil)
  }

  @Test("A fingerprint changes with size, times, header, data and the last byte")
  func fingerprints() throws {
    let folder = try TemporaryFolder()
    func print(_ bytes: [UInt8]) throws -> FileFingerprint {
      let header = npyBytes("{'descr': '<f4', 'fortran_order': False, 'shape': (1, 250000), }\n")
      return try NpyFile.open(folder.file("x.npy", header + bytes)).source().fingerprint()
    }
    var bytes = [UInt8](repeating: 0, count: 1_000_000)
    let first = try print(bytes)
    #expect(try print(bytes).contents == first.contents)
    #expect(try print(bytes).modified != first.modified)
    for index in [0, 200_000, 999_999] {
      bytes[index] = 1
      #expect(try print(bytes).contents != first.contents, "\(index)")
      bytes[index] = 0
    }
  }
}
