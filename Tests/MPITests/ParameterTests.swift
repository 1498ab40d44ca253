import TestSupport
import Testing

/// What the library says about itself while a job runs.
@Suite("Parameters of the library")
struct ParameterTests {
  /// The lines of the case `parameters`, by rank.
  private func parameters(
    ranks: Int, environment: [String: String] = [:], wrapper: [String] = []
  ) async throws -> [Set<String>] {
    let result = try await MPIJob.run(
      program: "mpi-checks", arguments: ["parameters"], ranks: ranks, environment: environment,
      wrapper: wrapper)
    try #require(result.isSuccess, "\(result)")
    let lines = result.standardOutput.split(separator: "\n")
    return (0..<ranks).map { rank in
      let prefix = "rank \(rank) "
      return Set(lines.filter { $0.hasPrefix(prefix) }.map { String($0.dropFirst(prefix.count)) })
    }
  }

  @Test("values and components are those that the job was started with, on every rank")
  func values() async throws {
    let ranks = try await parameters(
      ranks: 2,
      environment: [
        "OMPI_MCA_btl": "tcp,self", "OMPI_MCA_mpi_yield_when_idle": "1",
        "OMPI_MCA_btl_tcp_flags": "315", "OMPI_MCA_btl_tcp_if_exclude": "lo,nowhere0",
      ])
    let expected: Set = [
      // A text, a switch and a number. vader is closed, and what belongs to it unknown.
      "btl=tcp,self", "btl_tcp_if_exclude=lo,nowhere0", "mpi_yield_when_idle=true",
      "btl_tcp_flags=315", "btl: self,tcp", "pml: ob1",
    ]
    for lines in ranks { #expect(lines == expected) }
  }

  @Test("what nobody sets is the module's or the library's default, and a choice has its name")
  func defaults() async throws {
    let lines = try await parameters(
      ranks: 2, environment: ["OMPI_MCA_btl_vader_single_copy_mechanism": "none"],
      // What the tests' own jobs set.
      wrapper: ["env", "-u", "OMPI_MCA_mpi_yield_when_idle"])[0]
    #expect(lines.contains("btl_vader_single_copy_mechanism=none"), "\(lines)")
    #expect(lines.contains("btl_tcp_flags=1"), "\(lines)")
    #expect(lines.contains("mpi_yield_when_idle=false"), "\(lines)")
    #expect(lines.contains { $0.hasPrefix("btl: ") && $0.contains("vader") }, "\(lines)")
  }

  @Test("ranks read each other's memory", arguments: [1, 2, 3])
  func peerMemory(ranks: Int) async throws {
    let result = try await MPIJob.run(
      program: "mpi-checks", arguments: ["peer-memory"], ranks: ranks)
    #expect(result.isSuccess, "\(result)")
  }
}
