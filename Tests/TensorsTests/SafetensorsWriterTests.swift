import Foundation
import Glibc
import Tensors
import TestSupport
import Testing

@Suite("Writing safetensors files")
struct SafetensorsWriterTests {
  private static func layout(
    _ folder: TemporaryFolder, name: String = "out.safetensors"
  ) throws -> SafetensorsLayout {
    try SafetensorsLayout(
      path: folder.path + "/" + name,
      tensors: [
        .init("o", .bf16, [2, 37, 3, 8]), .init("lse", .f32, [2, 3, 37]),
        .init("h", .f16, [37, 5]),
      ],
      metadata: ["made by": "a \"test\"\n", "a": "\\"])
  }

  private static func number(_ place: Int) -> Float { Float(place % 251) - 125 }

  /// The numbers of a slice of a tensor whose element at place i is `number(i)`.
  private static func numbers(_ slice: RowSlice, _ shape: Shape) -> [Float] {
    let inner = shape.stride(slice.axis)
    return slice.rows.flatMap { row in
      (0..<inner).map { number((slice.outerIndex * shape[slice.axis] + row) * inner + $0) }
    }
  }

  private static func write(
    _ writer: borrowing SafetensorsWriter, _ slice: RowSlice, of name: String
  ) throws(TensorFileError) {
    let values = numbers(slice, writer.layout[name].shape)
    try writer.write(slice, of: name, from: values.span)
  }

  @Test("A layout is aligned, ordered, and valid as a file")
  func layout() throws {
    let folder = try TemporaryFolder()
    let layout = try Self.layout(folder)
    #expect(layout == (try Self.layout(folder)))
    #expect(layout.entries.map(\.name) == ["lse", "o", "h"])
    #expect(layout.entries[0].byteOffset % 64 == 0)
    for entry in layout.entries {
      #expect(entry.byteOffset % (entry.elementType?.byteWidth ?? 1) == 0)
    }
    try SafetensorsWriter.create(layout, token: "t").commit()
    let file = try SafetensorsFile.open(layout.path)
    #expect(file.entries == layout.entries)
    #expect(file.metadata == ["made by": "a \"test\"\n", "a": "\\"])
    #expect(try folder.bytes("out.safetensors").count == layout.fileSize)
    #expect(folder.names == ["out.safetensors"])
  }

  @Test("A layout without tensors, and one with empty tensors, are files too")
  func emptyLayouts() throws {
    let folder = try TemporaryFolder()
    for tensors in [[], [TensorDescription("none", .f16, [0, 4]), .init("one", .f32, [])]] {
      let layout = try SafetensorsLayout(path: folder.path + "/e.safetensors", tensors: tensors)
      try SafetensorsFile.write(layout) { (writer) throws(TensorFileError) in
        if !tensors.isEmpty {
          try writer.write(all: "none", from: [Float]().span)
          try writer.write(all: "one", from: [5 as Float].span)
        }
      }
      let file = try SafetensorsFile.open(layout.path)
      #expect(file.entries == layout.entries)
      if !tensors.isEmpty { #expect(try allNumbers(file.source("one")) == [5]) }
    }
  }

  @Test("Ranks that write their own rows write the whole", arguments: [1, 2, 3, 5, 8, 40])
  func ranks(worldSize: Int) throws {
    let folder = try TemporaryFolder()
    let layout = try Self.layout(folder)
    let creator = try SafetensorsWriter.create(layout, token: "job-7")
    for rank in (0..<worldSize).reversed() {
      let writer = try SafetensorsWriter.join(layout, token: "job-7")
      // Striped for `o` and `lse`, so that no two rows of a rank are neighbours; contiguous for
      // `h`.
      let striped = PositionRange(
        start: rank, stride: worldSize, count: max(0, (37 - rank + worldSize - 1) / worldSize))
      let contiguous = PositionRange(37 * rank / worldSize..<37 * (rank + 1) / worldSize)
      for batch in 0..<2 {
        try Self.write(writer, RowSlice(striped, outerIndex: batch), of: "o")
        for head in 0..<3 {
          try Self.write(
            writer, RowSlice(striped, axis: 2, outerIndex: 3 * batch + head), of: "lse")
        }
      }
      try Self.write(writer, RowSlice(contiguous, axis: 0), of: "h")
      try writer.synchronize()
      #expect(folder.names == [".out.safetensors.partial-job-7"])
    }
    try creator.commit()
    #expect(folder.names == ["out.safetensors"])
    let file = try SafetensorsFile.open(layout.path)
    for entry in file.entries {
      #expect(
        try allNumbers(file.source(entry.name)) == (0..<entry.shape.elementCount).map(Self.number))
    }
  }

  @Test("Nothing is written outside of a slice")
  func sentinels() throws {
    let folder = try TemporaryFolder()
    let layout = try Self.layout(folder)
    for (name, slice) in [
      ("o", RowSlice(PositionRange(5..<9), outerIndex: 1)),
      ("o", RowSlice(PositionRange(start: 1, stride: 9, count: 4))),
      ("lse", RowSlice(PositionRange(start: 0, stride: 36, count: 2), axis: 2, outerIndex: 4)),
      ("h", RowSlice(PositionRange(36..<37), axis: 0)),
      ("h", RowSlice(PositionRange(0..<0), axis: 0)),
    ] {
      let writer = try SafetensorsWriter.create(layout, token: "t")
      let partial = folder.path + "/.out.safetensors.partial-t"
      let handle = try FileHandle(forUpdating: URL(fileURLWithPath: partial))
      try handle.write(contentsOf: Data(repeating: 0xA5, count: layout.fileSize))
      try handle.close()
      try Self.write(writer, slice, of: name)
      let entry = layout[name]
      let type = try #require(entry.elementType)
      var expected = [UInt8](repeating: 0xA5, count: layout.fileSize)
      let inner = entry.shape.stride(slice.axis)
      for row in slice.rows {
        let place = (slice.outerIndex * entry.shape[slice.axis] + row) * inner
        let start = entry.byteOffset + place * type.byteWidth
        expected.replaceSubrange(
          start..<start + inner * type.byteWidth,
          with: elementBytes((place..<place + inner).map(Self.number), type))
      }
      #expect(try folder.bytes(".out.safetensors.partial-t") == expected)
      writer.discard()
      #expect(folder.names == [])
    }
  }

  @Test("Slices of several pieces round trip", arguments: ElementType.allCases)
  func large(type: ElementType) throws {
    let folder = try TemporaryFolder()
    let layout = try SafetensorsLayout(
      path: folder.path + "/large.safetensors", tensors: [.init("x", type, [1, 1500, 601])])
    try SafetensorsFile.write(layout) { (writer) throws(TensorFileError) in
      try Self.write(writer, RowSlice(PositionRange(0..<1400)), of: "x")
      try Self.write(writer, RowSlice(PositionRange(start: 1401, stride: 2, count: 50)), of: "x")
      try Self.write(writer, RowSlice(PositionRange(start: 1400, stride: 2, count: 50)), of: "x")
    }
    let file = try SafetensorsFile.open(layout.path)
    #expect(try allNumbers(file.source("x")) == (0..<1500 * 601).map(Self.number))
  }

  @Test("A writer that is dropped leaves the earlier file and nothing else")
  func dropped() throws {
    struct Stop: Error {}
    let folder = try TemporaryFolder()
    let layout = try Self.layout(folder)
    _ = try folder.file("out.safetensors", [1, 2, 3])
    func fail() throws {
      let creator = try SafetensorsWriter.create(layout, token: "t")
      let other = try SafetensorsWriter.join(layout, token: "t")
      #expect(other.layout == creator.layout)
      #expect(folder.names == [".out.safetensors.partial-t", "out.safetensors"])
      throw Stop()
    }
    #expect(throws: Stop.self) { try fail() }
    #expect(folder.names == ["out.safetensors"])
    #expect(try folder.bytes("out.safetensors") == [1, 2, 3])
    // A committed file takes the place of the earlier one.
    try SafetensorsWriter.create(layout, token: "t").commit()
    #expect(try folder.bytes("out.safetensors").count == layout.fileSize)
    #expect(folder.names == ["out.safetensors"])
  }

  /// The refusal to create `path`, and what is in `folder` afterwards besides what was there.
  private static func creationError(_ path: String, tokens: Int = 8) throws -> TensorFileError? {
    let layout = try SafetensorsLayout(path: path, tensors: [.init("x", .f32, [tokens])])
    return refusal { () throws(TensorFileError) in
      try SafetensorsWriter.create(layout, token: "t").discard()
    }
  }

  @Test("A place where no file can be created is refused, with the reason")
  func places() throws {
    let folder = try TemporaryFolder()
    let file = try folder.file("file", [1])
    let cases = [
      (folder.path + "/no/out.safetensors", "the directory '\(folder.path)/no' does not exist"),
      (file + "/out.safetensors", "'\(file)' is not a directory"),
      (folder.path, "it is a directory"),
      (folder.path + "/", "does not name a file"), ("", "does not name a file"),
      (folder.path + "/..", "does not name a file"),
      (folder.path + "/" + String(repeating: "n", count: 250), "its name is too long"),
      ("/sys/out.safetensors", "cannot be created in '/sys'"),
    ]
    for (path, words) in cases {
      let error = try Self.creationError(path)
      #expect(error?.kind == .unwritable)
      #expect(error?.path == path)
      #expect(error?.description.contains(words) == true, "\(String(describing: error))")
    }
    #expect(folder.names == ["file"])
  }

  @Test("What another run writes now is not touched, and what a dead one has left is removed")
  func alreadyBegun() throws {
    let folder = try TemporaryFolder()
    let path = folder.path + "/out.safetensors"
    let layout = try Self.layout(folder)
    let living = try SafetensorsWriter.create(layout, token: "living")
    for token in ["living", "other"] {
      let error = refusal { () throws(TensorFileError) in
        _ = try SafetensorsWriter.create(layout, token: token)
      }
      #expect(error?.description.contains("another run is writing it now") == true)
    }
    #expect(folder.names == [".out.safetensors.partial-living"])
    living.discard()

    // Nobody holds a lock on the first; the others are other files.
    _ = try folder.file(".out.safetensors.partial-dead", [9])
    let others = [".in.safetensors.partial-t", "out.safetensors.partial-t"]
    for name in others { _ = try folder.file(name, [9]) }
    let writer = try SafetensorsWriter.create(layout, token: "t")
    #expect(writer.removedLeftovers == [folder.path + "/.out.safetensors.partial-dead"])
    try writer.commit()
    #expect(folder.names.sorted() == (others + ["out.safetensors"]).sorted())
    #expect(FileManager.default.fileExists(atPath: path))
  }

  @Test("Joining what nobody created, or with another layout, is refused")
  func joining() throws {
    let folder = try TemporaryFolder()
    let layout = try Self.layout(folder)
    let missing = refusal { () throws(TensorFileError) in
      _ = try SafetensorsWriter.join(layout, token: "t")
    }
    #expect(missing?.description.contains("all hosts share the folder") == true)
    let creator = try SafetensorsWriter.create(layout, token: "t")
    let other = try SafetensorsLayout(path: layout.path, tensors: [.init("x", .f32, [3])])
    let error = refusal { () throws(TensorFileError) in
      _ = try SafetensorsWriter.join(other, token: "t")
    }
    #expect(
      error?.description.contains("has \(layout.fileSize) bytes instead of \(other.fileSize)")
        == true)
    creator.discard()
    #expect(folder.names == [])
  }

  @Test("A file larger than files can be is refused")
  func tooLarge() throws {
    for shape in [[Int.max], [1 << 61], [1 << 60, 2]] {
      let error = refusal { () throws(TensorFileError) in
        _ = try SafetensorsLayout(path: "big", tensors: [.init("x", .f32, Shape(shape))])
      }
      #expect(error?.description.contains("larger than files can be") == true)
      #expect(error?.tensor == "x")
    }
  }

  @Test("A file beyond the limit of the process is refused before any work, and removed")
  func fileSizeLimit() async {
    // In a process of its own, for the limit holds for all of a process.
    await #expect(processExitsWith: .success) {
      signal(SIGXFSZ, SIG_IGN)
      var limit = rlimit(rlim_cur: 1 << 20, rlim_max: 1 << 20)
      guard unsafe setrlimit(__rlimit_resource_t(RLIMIT_FSIZE.rawValue), &limit) == 0 else {
        exit(1)
      }
      let folder = try TemporaryFolder()
      let path = folder.path + "/out.safetensors"
      guard let error = try Self.creationError(path, tokens: 1 << 20) else { exit(2) }
      guard error.description.contains("reserving 4194432 bytes failed: File too large"),
        error.description.contains("ulimit -f"), folder.names == []
      else {
        print(error, folder.names)
        exit(3)
      }
    }
  }

  @Test("A full disk is found before any work, and the file removed")
  func fullDisk() throws {
    // More than all of a file system in memory, which refuses at once, without filling up.
    var status = statvfs()
    let name = "gyre-tensors-\(UUID().uuidString).safetensors"
    guard unsafe statvfs("/dev/shm", &status) == 0,
      unsafe access("/dev/shm", W_OK) == 0,
      (try? String(contentsOfFile: "/proc/mounts", encoding: .utf8))?
        .contains("/dev/shm tmpfs") == true,
      status.f_blocks > 0
    else { return }
    let blocks = Int(status.f_blocks) * Int(status.f_frsize) / 4
    let error = try Self.creationError("/dev/shm/" + name, tokens: blocks + 1024)
    #expect(error?.kind == .unwritable)
    #expect(
      error?.description.contains("No space left on device; free some space") == true,
      "\(String(describing: error))")
    let left = try FileManager.default.contentsOfDirectory(atPath: "/dev/shm")
    #expect(!left.contains { $0.contains(name) })
  }

  @Test("Writing to a file of the wrong size, or committing twice over, stops the process")
  func misuse() async {
    await #expect(processExitsWith: .failure) {
      let folder = try TemporaryFolder()
      let layout = try Self.layout(folder)
      let creator = try SafetensorsWriter.create(layout, token: "t")
      try creator.write(RowSlice(PositionRange(0..<2)), of: "o", from: [1, 2, 3].span)
    }
    await #expect(processExitsWith: .failure) {
      let folder = try TemporaryFolder()
      let layout = try Self.layout(folder)
      let creator = try SafetensorsWriter.create(layout, token: "t")
      try SafetensorsWriter.join(layout, token: "t").commit()
      creator.discard()
    }
  }
}
