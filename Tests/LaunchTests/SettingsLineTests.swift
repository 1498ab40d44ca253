import Testing

/// What `Launch/local` makes of settings in the environment.
@Suite struct SettingsLineTests {
  private func bound(_ threads: String, _ command: String...) throws -> String {
    let outcome = try Script.run(
      "Launch/local", ["--dry-run", "-n", "2", "attend"] + command,
      environment: ["GYRE_CORES": "8", "GYRE_THREADS": threads])
    #expect(outcome.code == 0 && outcome.errors == "")
    return outcome.output
  }

  /// Ranks with more threads than cores to run them on would be slow for no reason that one sees.
  @Test func threadsOfTheEnvironmentGetCores() throws {
    #expect(try bound("3").contains("--map-by slot:PE=3 "))
    #expect(try bound("3", "--threads", "2").contains("--map-by slot:PE=2 "))
    #expect(try bound("3", "--threads=auto").contains("--map-by slot:PE=4 "))
    #expect(try bound("auto").contains("--map-by slot:PE=4 "))
    #expect(try bound("many").contains("--map-by slot:PE=1 "))
  }
}
