package org.horosphere.finetune;

/** Welford's running mean and variance of a stream of numbers, with its range. */
public final class Moments {
    private long count;
    private double mean;
    private double squares;
    private double least = Double.POSITIVE_INFINITY;
    private double most = Double.NEGATIVE_INFINITY;

    public void add(double value) {
        count++;
        double before = value - mean;
        mean += before / count;
        squares += before * (value - mean);
        least = Math.min(least, value);
        most = Math.max(most, value);
    }

    public long count() {
        return count;
    }

    public double mean() {
        return count == 0 ? Double.NaN : mean;
    }

    /** Of the population, as the papers report it; NaN of nothing. */
    public double variance() {
        return count == 0 ? Double.NaN : squares / count;
    }

    public double deviation() {
        return Math.sqrt(variance());
    }

    public double least() {
        return least;
    }

    public double most() {
        return most;
    }
}
