package org.horosphere.finetune.report;

import java.awt.BasicStroke;
import java.awt.Color;
import java.awt.Font;
import java.util.Locale;
import org.knowm.xchart.XYChart;
import org.knowm.xchart.XYChartBuilder;
import org.knowm.xchart.XYSeries;
import org.knowm.xchart.style.AxesChartStyler;
import org.knowm.xchart.style.Styler;
import org.knowm.xchart.style.markers.Marker;
import org.knowm.xchart.style.markers.SeriesMarkers;

/** Charts of one look; none needs a display. */
public final class Plots {
    public static final Color BLUE = new Color(0x2F6DB5);
    public static final Color ORANGE = new Color(0xD9822B);
    public static final Color GREEN = new Color(0x3B8C5A);
    public static final Color RED = new Color(0xB5433F);
    public static final Color PURPLE = new Color(0x7A5BA8);
    public static final Color TEAL = new Color(0x2A9A9A);
    public static final Color BROWN = new Color(0x8A6A4F);
    public static final Color PINK = new Color(0xC9679F);
    public static final Color GREY = new Color(0xB9BFC7);
    public static final Color INK = new Color(0x2B3138);
    public static final int WIDTH = 760;
    public static final int HEIGHT = 420;

    static {
        if (System.getProperty("java.awt.headless") == null) {
            System.setProperty("java.awt.headless", "true");
        }
    }

    private Plots() {}

    public static XYChart chart(String x, String y) {
        XYChart chart =
                new XYChartBuilder()
                        .width(WIDTH)
                        .height(HEIGHT)
                        .xAxisTitle(x)
                        .yAxisTitle(y)
                        .build();
        style(chart.getStyler());
        return chart;
    }

    public static void style(AxesChartStyler styler) {
        Font font = new Font(Font.SANS_SERIF, Font.PLAIN, 13);
        styler.setLocale(Locale.ROOT);
        styler.setBaseFont(font);
        styler.setLegendFont(font);
        styler.setAxisTitleFont(font);
        styler.setAxisTickLabelsFont(font);
        styler.setAnnotationTextFont(new Font(Font.SANS_SERIF, Font.PLAIN, 11));
        styler.setChartFontColor(INK);
        styler.setChartBackgroundColor(Color.WHITE);
        styler.setPlotBackgroundColor(Color.WHITE);
        styler.setPlotBorderVisible(false);
        styler.setPlotGridLinesColor(new Color(0xE6E9ED));
        styler.setLegendPosition(Styler.LegendPosition.OutsideS);
        styler.setLegendLayout(Styler.LegendLayout.Horizontal);
        styler.setLegendBorderColor(Color.WHITE);
        styler.setErrorBarsColor(INK);
    }

    public static void points(
            XYChart chart,
            String name,
            double[] x,
            double[] y,
            Color color,
            Marker marker,
            int size) {
        XYSeries series = chart.addSeries(name, x, y);
        series.setXYSeriesRenderStyle(XYSeries.XYSeriesRenderStyle.Scatter);
        series.setMarker(marker).setMarkerColor(color);
        chart.getStyler().setMarkerSize(size);
    }

    public static XYSeries line(XYChart chart, String name, double[] x, double[] y, Color color) {
        XYSeries series = chart.addSeries(name, x, y);
        series.setXYSeriesRenderStyle(XYSeries.XYSeriesRenderStyle.Line);
        series.setMarker(SeriesMarkers.NONE).setMarkerColor(color);
        series.setLineColor(color).setLineStyle(new BasicStroke(2));
        return series;
    }
}
