import ArgumentParser
import Doctor
import FoundationEssentials
import Glibc
import Jobs
import MPI
import Reporting
import Settings

/// `gyre doctor`: looks at hosts, ranks and the MPI library before work is trusted to them.
struct DoctorCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "doctor",
    abstract: "What is good and what is not about this job's hosts, ranks and Open MPI.",
    usage: """
      gyre doctor
      mpirun -n P [mpirun's options] gyre doctor [--threads T]
      """,
    discussion: """
      Alone it looks at this host and at mpirun. Under mpirun it looks at the job: start it just \
      as the job that is to follow, with the same hosts and options, and --threads where that has \
      them. It says \
      what it has found, worst first, each with what to do. Exit code 1 means that there is a \
      problem.
      """)

  @OptionGroup var threading: ThreadOptions

  @OptionGroup var instructionOptions: InstructionOptions

  @Option(help: "What rank 0 prints: text for people or one JSON object.")
  var report = ReportFormat.text

  @OptionGroup(title: "Settings")
  var layers: SettingsOptions
}

extension DoctorCommand: StandaloneCommand, ComputingCommand {
  func run(on world: borrowing Communicator) throws {
    let facts = try JobFacts.gather(threads: threading.asked, on: world)
    let problems = try world.agreed { try facts.map(print) ?? 0 }
    // Rank 0 tells whether there is a problem.
    if try world.broadcast(problems, from: 0) > 0 { throw AgreedFailure(message: nil) }
  }

  /// MPI is not even initialized: where something is wrong with it, that ends the process.
  func runAlone() throws -> Int32 {
    try print(JobFacts.alone(threads: threading.asked)) > 0 ? EXIT_FAILURE : EXIT_SUCCESS
  }

  /// Prints what there is to say, and returns how many problems there are.
  private func print(_ facts: JobFacts) throws -> Int {
    let report = DoctorReport(facts)
    let text = self.report == .json ? try report.json : report.text
    // Ranks that do not see each other would all say the same.
    let isFirst = facts.announced.map { $0.size <= facts.ranks.count || $0.isSpeaker } ?? true
    if isFirst { try printReport(text) } else { sleep(1) }
    return report.findings.count { $0.severity == .problem }
  }
}
