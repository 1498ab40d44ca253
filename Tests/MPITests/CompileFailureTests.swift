import TestSupport
import Testing

/// Programs that reach for a buffer in flight: the compiler has to refuse each, for the right
/// reason.
@Suite("What must not compile")
struct CompileFailureTests {
  struct Program: Sendable, CustomTestStringConvertible {
    let testDescription: String
    let body: String
    let diagnostic: String
  }

  static let refused = [
    Program(
      testDescription: "a buffer is used after it was sent",
      body: """
        let sending = try world.send(block, to: 0, tag: 0)
        print(block.count)
        _ = try sending.wait()
        """,
      diagnostic: "'block' used after consume"),
    Program(
      testDescription: "a buffer is sent twice",
      body: """
        let first = try world.send(block, to: 0, tag: 0)
        let second = try world.send(block, to: 1, tag: 0)
        _ = try first.wait()
        _ = try second.wait()
        """,
      diagnostic: "'block' consumed more than once"),
    Program(
      testDescription: "a buffer is used while a message is received into it",
      body: """
        let receiving = world.receive(into: block, from: 0, tag: 0)
        print(block.count)
        _ = try receiving.wait()
        """,
      diagnostic: "'block' used after consume"),
    Program(
      testDescription: "a receive in flight is asked for its buffer",
      body: """
        let receiving = world.receive(into: block, from: 0, tag: 0)
        print(receiving.buffer.count)
        _ = try receiving.wait()
        """,
      diagnostic: "has no member 'buffer'"),
    Program(
      testDescription: "a buffer is written while it is sent",
      body: """
        var sending = try world.send(block, to: 0, tag: 0)
        do {
          var span = sending.buffer.mutableSpan
          span[0] = 1
        }
        _ = try sending.wait()
        """,
      diagnostic: "'buffer' is a 'let' constant"),
    Program(
      testDescription: "a buffer is taken out of its transfer",
      body: """
        let sending = try world.send(block, to: 0, tag: 0)
        let taken = sending.buffer
        print(taken.count)
        """,
      diagnostic: "cannot partially consume 'sending'"),
    Program(
      testDescription: "a span of a buffer outlives its transfer",
      body: """
        var sending = try world.send(block, to: 0, tag: 0)
        let span = sending.buffer.span
        _ = try sending.wait()
        print(span[0])
        """,
      diagnostic: "overlapping accesses to 'sending'"),
    Program(
      testDescription: "a communicator is used on another thread",
      body: """
        let twin = try world.duplicate()
        Task.detached { print(twin.rank, block.count) }
        """,
      diagnostic: "data race"),
    Program(
      testDescription: "a transfer is waited for twice",
      body: """
        let sending = try world.send(block, to: 0, tag: 0)
        _ = try sending.wait()
        _ = try sending.wait()
        """,
      diagnostic: "'sending' consumed more than once"),
    Program(
      testDescription: "a finished transfer is tested",
      body: """
        let receiving = world.receive(into: block, from: 0, tag: 0)
        _ = try receiving.wait()
        _ = try receiving.test()
        """,
      diagnostic: "'receiving' used after consume"),
  ]

  @Test("The compiler refuses it", arguments: refused)
  func isRefused(_ program: Program) async throws {
    let result = try await compile(program.body)
    #expect(!result.isSuccess, "\(result)")
    #expect(result.standardError.contains("error: "), "\(result)")
    #expect(result.standardError.contains(program.diagnostic), "\(result)")
  }

  @Test("The compiler accepts the same in the right order")
  func isAccepted() async throws {
    let result = try await compile(
      """
      let receiving = world.receive(
        into: MessageBuffer<Float>(repeating: 0, count: 8), from: 0, tag: 0)
      let sending = try world.send(block, to: 0, tag: 0)
      print(sum(sending.buffer), try sending.test(), try receiving.test())
      let back = try sending.wait()
      print(back.count, try receiving.wait().count)
      """)
    #expect(result.isSuccess, "\(result)")
    #expect(result.standardError.isEmpty, "\(result)")
  }

  /// Compiles `body` as that of a function that has a world and a block.
  ///
  /// Up to SIL: only its passes follow the life of a value, a check of types alone does not.
  private func compile(_ body: String) async throws -> CommandResult {
    let source = """
      import MPI
      func sum(_ block: borrowing MessageBuffer<Float>) -> Float {
        let span = block.span
        return span.indices.reduce(0) { $0 + span[$1] }
      }
      func program(_ world: borrowing Communicator) throws {
        let block = MessageBuffer<Float>(repeating: 0, count: 8)
      \(body)
      }
      """
    let headers = try await Command.run(
      "pkg-config", arguments: ["--cflags-only-I", "ompi-c"], timeoutSeconds: 20)
    let includes = headers.standardOutput.split(whereSeparator: \.isWhitespace).flatMap {
      ["-Xcc", String($0)]
    }
    return try await Command.run(
      "swiftc",
      arguments: [
        "-swift-version", "6", "-emit-sil", "-o", "/dev/null",
        "-I", "\(BuiltProducts.directory)/Modules",
        "-I", "\(BuiltProducts.packageRoot)/Sources/COpenMPI",
      ] + includes + ["-"],
      standardInput: source, timeoutSeconds: 120)
  }
}
