/** Ends this process when whoever started it is gone, even by kill -9: the pipe it held open to us is then closed. */
final class ParentWatch {
    private ParentWatch() {}

    static void begin() {
        Thread reader = new Thread(ParentWatch::haltAtEndOfInput, "parent-watch");
        reader.setDaemon(true);
        reader.start();
    }

    private static void haltAtEndOfInput() {
        try {
            while (System.in.read() >= 0) {
                // Nobody sends anything; only the end counts.
            }
        } catch (java.io.IOException broken) {
            // A broken pipe is an end too.
        }
        // No shutdown hooks: nobody is left to wait for them, and a test's data is worth nothing without the test.
        Runtime.getRuntime().halt(1);
    }
}
